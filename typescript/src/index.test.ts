// What is sent, seen by a stand-in for the network.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createVaderClient, type JobRequest, type Problem } from "./index.js";

const WISH: JobRequest = { template: "tpl_01kax4b7c8d9e0f1g2h3j4k5m6@2", name: "a job" };

function recorded(answer: Response) {
  const sent: Request[] = [];
  const client = createVaderClient({
    baseUrl: "https://vader.example/",
    apiKey: "vdr_live_key",
    fetch: async (request) => {
      sent.push(request);
      return answer.clone();
    },
  });
  return { client, sent };
}

test("a job is read by its path, with the key", async () => {
  const { client, sent } = recorded(Response.json({ id: "job_1", status: "running" }));
  const { data, error } = await client.GET("/v1/jobs/{job_id}", {
    params: { path: { job_id: "job_1" } },
  });
  assert.equal(error, undefined);
  assert.equal(data?.status, "running");
  assert.equal(sent[0]?.url, "https://vader.example/v1/jobs/job_1");
  assert.equal(sent[0]?.headers.get("Authorization"), "Bearer vdr_live_key");
});

test("a POST carries the key that it must have", async () => {
  const { client, sent } = recorded(Response.json({ id: "job_1" }, { status: 202 }));
  const body = WISH;
  await client.POST("/v1/jobs", { body, params: { header: { "Idempotency-Key": "mine" } } });
  assert.equal(sent[0]?.headers.get("Idempotency-Key"), "mine");
  // @ts-expect-error: without the key it does not compile.
  await client.POST("/v1/jobs", { body });
});

test("a refusal is a problem with every fault", async () => {
  const problem = { status: 422, code: "validation_failed", errors: [{ pointer: "/rewards" }] };
  const refusal = new Response(JSON.stringify(problem), {
    status: 422,
    headers: { "Content-Type": "application/problem+json" },
  });
  const { client } = recorded(refusal);
  const { error } = await client.POST("/v1/jobs", {
    body: WISH,
    params: { header: { "Idempotency-Key": "k" } },
  });
  assert.equal((error as Problem).errors?.[0]?.pointer, "/rewards");
});
