"""`make demo`: one alignment job, end to end, through the real service on this machine.

Starts the stack by `vader up`, posts the job file by REST, shows the job while it runs, fetches the
adapter, the videos and the contact sheet, and stops the stack. The exit status is 0 only for a job
that succeeded with the verdict `improved`.
"""

from __future__ import annotations

import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from client.errors import FileUnusable, VaderError
from client.job_file import read_job
from client.memory import PeakMemory
from client.models import Job
from client.progress import display_for, watch
from client.show.jobs import show_job
from client.show.problems import show_error
from client.stack.errors import StartFailed
from client.stack.folder import read_json, write_private
from client.stack.processes import Child, Command, wait_until
from client.sync.api import VaderClient

EXIT_NOT_IMPROVED, EXIT_ERROR, EXIT_INTERRUPTED = 1, 5, 130
# The tiny models gain little from a second thread, and two threads that wait for each other crawl as soon
# as anything else wants one of the cores.
_TRAINER_THREADS = 1
_READY_S = 400.0
_STOP_S = 60.0
_NAME_LENGTH = 60


def demo(*, job_file: Path, output: Path, console: Console) -> bool:
    """Runs the job on a stack of its own and leaves what it yields in `output`. Whether it improved.

    Raises `VaderError` when the stack does not start or the job cannot be made.
    """
    began = time.monotonic()
    spec = read_job(job_file)
    stack_folder = output / "stack"
    _clear(output)
    with _stack(stack_folder) as stack, PeakMemory() as memory:
        url, key = _ready(stack, stack_folder)
        console.print(Text(f"The service is ready at {url} after {_since(began)}."))
        with VaderClient(url, key) as client:
            job = watch(client, client.create_job(spec), display_for(console))
            fetched = _fetch(client, job, output)
    show_job(console, job)
    for line in fetched:
        console.print(Text(line), soft_wrap=True, highlight=False)
    console.print(Text(f"in all      {_since(began)}, peak memory {memory.bytes / 2**30:.2f} GiB"))
    improved = job.status == "succeeded" and (
        job.evaluation is not None and job.evaluation.verdict == "improved"
    )
    if improved:
        shutil.rmtree(stack_folder, ignore_errors=True)
    else:
        console.print(Text(f"Logs and data of the run: {stack_folder}"))
    return improved


def _clear(output: Path) -> None:
    """Makes room for new results. Only what a former run of the demo has made is removed."""
    try:
        for made in ("adapter", "samples", "stack"):
            if (output / made).exists():
                shutil.rmtree(output / made)
        (output / "sheet.png").unlink(missing_ok=True)
        (output / "stack").mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise FileUnusable(f"{output} cannot be used: {error}") from error


@contextmanager
def _stack(folder: Path) -> Iterator[Child]:
    """A `vader up` on `folder` that ends with the block, or with this process."""
    words = [sys.executable, "-m", "client", "up", "--json", "--data-dir", str(folder.resolve())]
    words += ["--trainer-threads", str(_TRAINER_THREADS)]
    command = Command(
        name="vader up",
        words=words,
        stop_s=_STOP_S,
        orphan_signal=signal.SIGTERM,
        cwd=Path(__file__).resolve().parents[1],
    )
    write_private(_ready_file(folder), "")
    stack = Child(command, folder / "up.log", output=_ready_file(folder))
    try:
        yield stack
    finally:
        stack.stop(hurry=threading.Event())


def _ready_file(folder: Path) -> Path:
    return folder / "ready.json"


def _ready(stack: Child, folder: Path) -> tuple[str, str]:
    """URL and API key, once the stack is up."""

    def answered() -> bool:
        if stack.exit_status is not None:
            raise StartFailed(f"`vader up` ended with status {stack.exit_status}.", stack.log)
        return "url" in read_json(_ready_file(folder))

    try:
        wait_until(answered, stop=threading.Event(), within_s=_READY_S)
    except TimeoutError as error:
        raise StartFailed(f"`vader up` was not ready after {_READY_S:.0f} s.", stack.log) from error
    line = read_json(_ready_file(folder))
    return str(line["url"]), str(line["api_key"])


def _fetch(client: VaderClient, job: Job, output: Path) -> list[str]:
    """Downloads adapter, videos and contact sheet; a line for each that says where it is."""
    lines: list[str] = []
    if job.adapter is not None:
        client.download_adapter(job.adapter.id, to=output / "adapter")
        lines.append(f"adapter in  {output / 'adapter'}")
    samples = sorted(client.samples(job.id), key=lambda sample: sample.step)
    for sample in samples:
        subject = re.sub("[^a-z0-9]+", "-", sample.prompt.lower())[:_NAME_LENGTH].strip("-")
        name = f"{subject}-{sample.pair}-{sample.role}.mp4"
        client.download_sample(sample, to=output / "samples" / name)
    if samples:
        lines.append(f"videos in   {output / 'samples'} ({len(samples)} mp4 files)")
    if job.sheet is not None:
        client.download_sheet(job.id, job.sheet, to=output / "sheet.png")
        lines.append(f"sheet       {output / 'sheet.png'} (base row over adapter row)")
    return lines


def _since(began: float) -> str:
    seconds = time.monotonic() - began
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def main(
    *,
    job_file: Annotated[Path, typer.Option("--job", help="The job to run.")] = Path(
        "examples/demo.yaml"
    ),
    output: Annotated[
        Path, typer.Option(file_okay=False, help="Where adapter, videos and sheet go.")
    ] = Path("demo-output"),
) -> None:
    """Run one alignment job end to end on this machine and show what it brought."""
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        improved = demo(job_file=job_file, output=output, console=Console())
    except VaderError as error:
        show_error(Console(stderr=True), error)
        raise typer.Exit(EXIT_ERROR) from error
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; everything was stopped.\n")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    raise typer.Exit(0 if improved else EXIT_NOT_IMPROVED)


if __name__ == "__main__":
    typer.run(main)
