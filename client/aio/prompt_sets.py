"""Prompt sets and job templates: what jobs are made of again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from client.aio.basics import offload
from client.aio.calls import Calls, Listing
from client.answers import given
from client.media import read_prompts
from client.models import Prompt, PromptSet, PromptSetCheck, Template
from client.paths import at


class PromptSetCalls(Calls):
    """Prompt sets and templates. What is there never changes: a change makes a new version."""

    async def create_prompt_set(
        self,
        name: str,
        prompts: Sequence[Mapping[str, JsonValue]],
        *,
        idempotency_key: str | None = None,
    ) -> PromptSet:
        """A new prompt set, or a new version where the name is there. Raises `Invalid` with every fault."""
        body = {"name": name, "prompts": [dict(prompt) for prompt in prompts]}
        return await self._post(
            PromptSet, at("/v1/prompt-sets"), body, idempotency_key=idempotency_key
        )

    async def push_prompts(
        self, path: Path, *, name: str, base_model: str | None = None
    ) -> PromptSet:
        """As `create_prompt_set`, from a file: JSON lines (.jsonl, .ndjson) or a prompt a line (.txt).

        With `base_model` the prompts' lengths are checked against its text encoder. Raises `FileUnusable`.
        """
        content, content_type = await offload(lambda: read_prompts(path))
        params = {"name": name, "base_model": base_model}
        return await self._post_bytes(
            PromptSet, at("/v1/prompt-sets"), content, content_type=content_type, params=params
        )

    async def validate_prompts(
        self, path: Path, *, name: str, base_model: str | None = None
    ) -> PromptSetCheck:
        """What `push_prompts` would find. Nothing is stored."""
        content, content_type = await offload(lambda: read_prompts(path))
        params = {"name": name, "base_model": base_model}
        where = at("/v1/prompt-sets/validate")
        return await self._post_bytes(
            PromptSetCheck, where, content, content_type=content_type, params=params
        )

    def prompt_sets(self, *, name: str | None = None) -> Listing[PromptSet]:
        """This project's prompt sets, newest first."""
        return self._list(PromptSet, at("/v1/prompt-sets"), {"name": name})

    async def prompt_set(self, prompt_set_id: str) -> PromptSet:
        """One prompt set, without its prompts."""
        return await self._get(PromptSet, at("/v1/prompt-sets/{}", prompt_set_id))

    async def delete_prompt_set(self, prompt_set_id: str) -> None:
        """Deletes one version. Raises `Conflict` while a job that is not over has its prompts from it."""
        await self._delete(at("/v1/prompt-sets/{}", prompt_set_id))

    def prompts(self, prompt_set_id: str, *, side: str | None = None) -> Listing[Prompt]:
        """The prompts of a set in their order; `side` is "training" or "heldout"."""
        return self._list(Prompt, at("/v1/prompt-sets/{}/prompts", prompt_set_id), {"side": side})

    async def create_template(
        self,
        name: str,
        spec: Mapping[str, JsonValue],
        *,
        description: str = "",
        idempotency_key: str | None = None,
    ) -> Template:
        """A job template: a spec, or a part of one that jobs complete by their `overrides`."""
        body = {"name": name, "description": description, "spec": dict(spec)}
        return await self._post(
            Template, at("/v1/job-templates"), body, idempotency_key=idempotency_key
        )

    def templates(self) -> Listing[Template]:
        """This project's job templates in their newest versions, latest first, without specs."""
        return self._list(Template, at("/v1/job-templates"))

    async def template(self, template_id: str, *, version: int | None = None) -> Template:
        """One version of a job template; the newest where none is named."""
        path = at("/v1/job-templates/{}", template_id)
        return await self._get(Template, path, params={"version": version})

    async def update_template(
        self,
        template: Template | str,
        *,
        name: str | None = None,
        description: str | None = None,
        spec: Mapping[str, JsonValue] | None = None,
    ) -> Template:
        """A new version; `spec` is a JSON merge patch (RFC 7396) onto the newest one's.

        Given a `Template` that `template()` has read it raises `Stale` where there is a newer one.
        """
        if isinstance(template, str) or template.etag is None:
            template_id = template if isinstance(template, str) else template.id
            template = await self.template(template_id)
        changes = given({"name": name, "description": description, "spec": spec})
        path = at("/v1/job-templates/{}", template.id)
        return await self._patch(Template, path, changes, etag=template.etag)

    async def archive_template(self, template_id: str) -> Template:
        """New jobs cannot name it any more; it can still be read."""
        return await self._delete_kept(Template, at("/v1/job-templates/{}", template_id))
