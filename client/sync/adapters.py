# Generated from client/aio/adapters.py by `python -m tests.sync_client`. Do not edit.
"""Adapters: what jobs yield, the names they go by, and their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from client.errors import NoAdapter, NotFound
from client.models import Adapter, Alias, File, Job, Page
from client.part_file import safe_path
from client.paths import at
from client.sync.calls import Calls, Listing
from client.sync.downloads import fetch


class AdapterCalls(Calls):
    """The adapter registry."""

    def adapters(
        self, *, base_model: str | None = None, job: str | None = None, alias: str | None = None
    ) -> Listing[Adapter]:
        """This project's adapters whose files are kept, newest first."""
        wanted = {"base_model": base_model, "job": job, "alias": alias}
        return self._list(Adapter, at("/v1/adapters"), wanted)

    def adapter(self, adapter_id: str) -> Adapter:
        """One adapter with its files, and where it comes from."""
        return self._get(Adapter, at("/v1/adapters/{}", adapter_id))

    def aliases(self) -> list[Alias]:
        """The names of this project and the adapters that they mean."""
        return (self._get(Page[Alias], at("/v1/adapter-aliases"))).data

    def alias(self, name: str) -> Alias:
        """What a name means."""
        return self._get(Alias, at("/v1/adapter-aliases/{}", name))

    def set_alias(self, name: str, adapter_id: str, *, seen: Alias | None = None) -> Alias:
        """Makes `name` mean this adapter from now on.

        Given the alias as `alias()` has `seen` it, it raises `Stale` where that was moved since; else it is
        moved from whatever it means now.
        """
        if seen is None or seen.etag is None:
            try:
                seen = self.alias(name)
            except NotFound:
                seen = None
        path = at("/v1/adapters/{}/aliases/{}", adapter_id, name)
        return self._put(Alias, path, etag=seen.etag if seen is not None else None)

    def delete_alias(self, name: str) -> None:
        """Takes a name away. The adapter stays."""
        adapter_id = (self.alias(name)).adapter_id
        self._delete(at("/v1/adapters/{}/aliases/{}", adapter_id, name))

    def adapter_files(self, adapter_id: str) -> list[File]:
        """The files of an adapter with links that are valid for some minutes."""
        return (self._get(Page[File], at("/v1/adapters/{}/files", adapter_id))).data

    def download_adapter(self, reference: str, *, to: Path, only: Sequence[str] = ()) -> list[Path]:
        """Downloads the files of an adapter, named as for `adapter_id_of`, into the folder `to`, each checked
        by its sha256.

        `only` keeps to files whose paths begin with one of these. Files that are there already and right
        are left alone, unfinished ones gone on with. Raises `DownloadCorrupt` for a file that does not
        match, and `NoAdapter` for a job that has none.
        """
        adapter_id = self.adapter_id_of(reference)
        files = self.adapter_files(adapter_id)
        wanted = [file for file in files if not only or file.path.startswith(tuple(only))]
        return [
            fetch(
                self._transport,
                file,
                to=to / safe_path(file.path),
                renew=at("/v1/adapters/{}/files/{path}", adapter_id, file.path),
            )
            for file in wanted
        ]

    def adapter_id_of(self, reference: str) -> str:
        """The id of the adapter that is meant by an id, an alias (`@production`), or the id of the job that
        yielded it. Raises `NoAdapter` for a job that has none."""
        if reference.startswith("@"):
            return (self.alias(reference.removeprefix("@"))).adapter_id
        if not reference.startswith("job_"):
            return reference
        job = self._get(Job, at("/v1/jobs/{}", reference))
        if job.adapter is None:
            raise NoAdapter(f"Job {job.id} is {job.status} and has no adapter.")
        return job.adapter.id

    def download(self, file: File, *, to: Path) -> Path:
        """Downloads one file to the path `to`, checked by its sha256."""
        return fetch(self._transport, file, to=to)
