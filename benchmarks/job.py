"""Where a job's time goes: the bare trainer by stage, and what the service adds to it.

    python -m benchmarks.job [--steps 20] [--repeats 3] [--threads 2] [--write FILE]

Runs the demo's job on the bare trainer and through `vader up` + REST in turn, so that a noisy machine hits both
alike. Overhead is the wall time from submit to the terminal event over the wall time of the bare trainer process;
start is the time to the first optimiser step, from submit or from the start of the process.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from client import VaderClient

ROOT = Path(__file__).parents[1]


@dataclass
class Run:
    """Seconds from submit (or process start) to the first step and to the end, and the step lines."""

    first_step_s: float
    wall_s: float
    steps: list[dict[str, Any]]


def job_spec(steps: int) -> dict[str, Any]:
    """The demo's job, cut to `steps` optimiser steps and two evaluations."""
    spec: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "demo.yaml").read_text())
    spec["budget"] = {"max_steps": steps}
    spec["evaluation"] = {"num_prompts": 8, "seeds": [11, 12], "samples_to_keep": 4}
    spec["checkpoints"] = {"every_steps": 10, "keep_last": 2}
    return spec


def bare(spec: dict[str, Any], threads: int) -> Run:
    """One run of the trainer process alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.json"
        path.write_text(json.dumps(spec))
        command = [sys.executable, "-m", "vader_core", "train", str(path)]
        command += ["--out", f"{folder}/run", "--threads", str(threads)]
        began, first = time.monotonic(), 0.0
        steps: list[dict[str, Any]] = []
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            for text in process.stdout or ():
                line = json.loads(text)
                if line["type"] == "step":
                    first = first or time.monotonic() - began
                    steps.append(line)
            errors = process.stderr.read() if process.stderr else ""
        wall = time.monotonic() - began
    if process.returncode != 0:
        raise SystemExit(f"the trainer ended with status {process.returncode}:\n{errors}")
    return Run(first, wall, steps)


def through_service(client: VaderClient, spec: dict[str, Any]) -> Run:
    """One run as a job, followed by its event stream."""
    began, first = time.monotonic(), 0.0
    job = client.create_job(spec)
    steps: list[dict[str, Any]] = []
    for event in client.events(job.id):
        if event.type == "job.metric":
            first = first or time.monotonic() - began
            steps.append(dict(event.data))
    wall = time.monotonic() - began
    ended = client.job(job.id)
    if ended.status != "succeeded":
        raise SystemExit(f"the job ended as {ended.status}: {ended.error}")
    return Run(first, wall, steps)


def stage_table(runs: list[Run]) -> list[str]:
    """Median seconds per step by stage, over all steps but each run's first, which warms up."""
    steps = [step for run in runs for step in run.steps[1:]]
    total = statistics.median(step["seconds"] for step in steps)
    rows = ["| stage | seconds per step | share |", "|---|---|---|"]
    for stage in steps[0]["stage_seconds"]:
        seconds = statistics.median(step["stage_seconds"][stage] for step in steps)
        rows.append(f"| {stage} | {seconds:.3f} | {seconds / total:.0%} |")
    rows.append(f"| whole step | {total:.3f} | |")
    peak = max(step["peak_memory_bytes"] for step in steps)
    return [*rows, "", f"Peak memory of the trainer: {peak / 2**20:.0f} MiB."]


def overhead_table(bare_runs: list[Run], service_runs: list[Run]) -> list[str]:
    """Bare trainer and service side by side, run by run."""
    rows = [
        "| run | bare wall s | service wall s | overhead | bare first step s | service first step s | added s |",
        "|---|---|---|---|---|---|---|",
    ]
    pairs = list(zip(bare_runs, service_runs, strict=True))
    for number, (alone, served) in enumerate(pairs, 1):
        rows.append(
            f"| {number} | {alone.wall_s:.1f} | {served.wall_s:.1f} | {served.wall_s / alone.wall_s - 1:+.1%} "
            f"| {alone.first_step_s:.1f} | {served.first_step_s:.1f} "
            f"| {served.first_step_s - alone.first_step_s:+.1f} |"
        )
    ratio = statistics.median(served.wall_s / alone.wall_s for alone, served in pairs)
    added = statistics.median(served.first_step_s - alone.first_step_s for alone, served in pairs)
    goal = f"Median overhead {ratio - 1:+.1%} (goal: under 5 %); median added start {added:+.1f} s (goal: under 3 s)."
    return [*rows, "", goal]


def main() -> None:
    """Runs the benchmark and prints a Markdown page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", type=Path, help="also write the page to this file")
    options = parser.parse_args()
    spec = job_spec(options.steps)
    bare_runs: list[Run] = []
    service_runs: list[Run] = []
    with tempfile.TemporaryDirectory() as folder:
        up = [sys.executable, "-m", "client", "up", "--json", "--data-dir", folder]
        up += ["--trainer-threads", str(options.threads)]
        with subprocess.Popen(up, stdout=subprocess.PIPE, text=True, cwd=ROOT) as stack:
            assert stack.stdout is not None
            ready = json.loads(stack.stdout.readline())
            with VaderClient(ready["url"], ready["api_key"]) as client:
                for _ in range(options.repeats):
                    bare_runs.append(bare(spec, options.threads))
                    service_runs.append(through_service(client, spec))
            stack.send_signal(signal.SIGTERM)
    command = f"python -m benchmarks.job --steps {options.steps} --repeats {options.repeats} --threads {options.threads}"
    page = [
        "# One job: stages, and the service's overhead",
        "",
        f"`{command}` on {time.strftime('%Y-%m-%d')}, {platform.machine()}, Python {platform.python_version()}.",
        "",
        *stage_table(bare_runs),
        "",
        *overhead_table(bare_runs, service_runs),
    ]
    text = "\n".join(page) + "\n"
    sys.stdout.write(text)
    if options.write:
        options.write.write_text(text)


if __name__ == "__main__":
    main()
