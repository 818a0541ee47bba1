// The VADER service from TypeScript: every path and shape of docs/openapi.json, checked by the compiler.
//
//   const vader = createVaderClient({ baseUrl: "https://vader.example", apiKey });
//   const { data, error } = await vader.GET("/v1/jobs/{job_id}", { params: { path: { job_id } } });
//
// Every POST needs an `Idempotency-Key` in `params.header`: `crypto.randomUUID()` for a new wish, the same
// key again to repeat a request whose answer was lost.

import createClient, { type Client, type Middleware } from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type { components, paths } from "./schema.js";
export type Job = components["schemas"]["JobShape"];
export type JobRequest = components["schemas"]["JobRequest"];
export type Problem = components["schemas"]["Problem"];
export type VaderClient = Client<paths>;

export interface Options {
  baseUrl: string;
  /** Left out in a browser that is signed in: its session cookie is sent instead. */
  apiKey?: string;
  fetch?: (request: Request) => Promise<Response>;
}

/** A client of one service. `error` of every answer is a `Problem`; nothing is thrown but network failures. */
export function createVaderClient(options: Options): VaderClient {
  const client = createClient<paths>({
    baseUrl: options.baseUrl.replace(/\/$/, ""),
    credentials: "same-origin",
    ...(options.fetch === undefined ? {} : { fetch: options.fetch }),
  });
  client.use(authorising(options.apiKey));
  return client;
}

function authorising(apiKey: string | undefined): Middleware {
  return {
    onRequest({ request }) {
      if (apiKey !== undefined) request.headers.set("Authorization", `Bearer ${apiKey}`);
      return request;
    },
  };
}
