"""One short alignment for every tiny reward: runs all of them on the bare trainer and writes docs/results.md.

    python -m benchmarks.alignments [NAME ...] [--runs DIR] [--threads 1] [--write docs/results.md]

The jobs are `benchmarks/specs/*.yaml` and the demo; NAMEs pick some of them. A job that already
ended in DIR with the same spec is not run again, so a table is added to by running the command again.
Every figure comes from the trainer's own lines. What is seen in a job's samples stands in `specs/NAME.md`.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from vader_core.guard_rules import in_figures
from vader_core.lines import Done, EvaluationDone, GuardResult, Line, parse
from vader_core.spec import JobSpec

ROOT = Path(__file__).parents[1]
SPECS = Path(__file__).parent / "specs"
DEMO = ROOT / "examples" / "demo.yaml"
_HEAD = (
    "| job | reward | base model | before | after | difference, 95 % interval | verdict "
    "| guards: ratio or difference to base (asked) | steps | reward queries | seconds |"
)


@dataclass(frozen=True)
class Result:
    """One finished job: its file, its spec and the trainer's lines."""

    file: Path
    spec: JobSpec
    lines: Sequence[Line]

    @property
    def evaluation(self) -> EvaluationDone:
        """The held-out pairs at the end."""
        return next(line for line in reversed(self.lines) if isinstance(line, EvaluationDone))

    @property
    def done(self) -> Done:
        return next(line for line in self.lines if isinstance(line, Done))

    @property
    def seconds(self) -> float:
        """From the trainer's first line to its last, evaluation and export included."""
        return (self.lines[-1].at - self.lines[0].at).total_seconds()


def jobs(names: list[str]) -> list[Path]:
    """The job files with these names, or all of them."""
    files = [DEMO, *sorted(SPECS.glob("*.yaml"))]
    unknown = sorted(set(names) - {file.stem for file in files})
    if unknown:
        raise SystemExit(
            f"no job is called {', '.join(unknown)}; there are: {[f.stem for f in files]}"
        )
    return [file for file in files if not names or file.stem in names]


def run(file: Path, runs: Path, threads: int) -> Result:
    """The job's result: of the run in `runs`, or of a new one that is put there."""
    text = json.dumps(yaml.safe_load(file.read_text(encoding="utf-8")), indent=2, default=str)
    spec_file, lines_file = runs / f"{file.stem}.json", runs / f"{file.stem}.jsonl"
    known = lines_file.exists() and spec_file.exists() and spec_file.read_text() == text
    if not known:
        spec_file.write_text(text)
        folder = tempfile.mkdtemp(prefix=f"{file.stem}-", dir=runs)
        command = [sys.executable, "-m", "vader_core", "train", str(spec_file)]
        command += ["--out", folder, "--threads", str(threads)]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT)
        if ended.returncode != 0:
            raise SystemExit(f"{file.name} ended with status {ended.returncode}:\n{ended.stdout}")
        lines_file.write_text(ended.stdout)
    lines = [parse(line) for line in lines_file.read_text().splitlines()]
    return Result(file, JobSpec.model_validate_json(text), lines)


def row(result: Result) -> str:
    """One line of the table."""
    evaluation = result.evaluation
    difference = evaluation.difference
    assert difference is not None
    rewards = " + ".join(
        f"{term.weight:g} x {term.reward}" if len(result.spec.rewards) > 1 else term.reward
        for term in result.spec.rewards
    )
    guards = ", ".join(
        f"{guard.reward.split('@')[0]} {_figures(guard)}" + ("" if guard.ok else " **broken**")
        for guard in evaluation.guards
    )
    low, high = difference.delta_ci95
    cells = [
        f"[{result.file.stem}](../{result.file.relative_to(ROOT)})",
        rewards,
        result.spec.base_model,
        f"{difference.base:.3f}",
        f"{difference.adapter:.3f}",
        f"{difference.delta:+.3f} [{low:+.3f}, {high:+.3f}]",
        str(evaluation.verdict),
        guards,
        str(result.done.step),
        str(result.done.reward_queries),
        f"{result.seconds:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def parts(result: Result) -> list[str]:
    """For a weighted sum, one more line for each reward: its own score and difference."""
    if len(result.spec.rewards) == 1:
        return []
    rows = []
    for name, part in result.evaluation.per_reward.items():
        low, high = part.delta_ci95
        figures = (
            f"{part.base:.3f} | {part.adapter:.3f} | {part.delta:+.3f} [{low:+.3f}, {high:+.3f}]"
        )
        rows.append(f"| | of it {name} | | {figures} | | | | | |")
    return rows


def _figures(guard: GuardResult) -> str:
    found, asked = in_figures(guard)
    return f"{found} ({asked})"


def page(results: list[Result], threads: int) -> str:
    """The Markdown page."""
    pairs = sorted({result.evaluation.pairs for result in results})
    about = (
        f"`python -m benchmarks.alignments --threads {threads}` on {time.strftime('%Y-%m-%d')}, "
        f"{platform.machine()}, CPU, {threads} thread{'s' * (threads > 1)}, other work on the machine: "
        "seconds are wall clock, from the trainer's first line to its last, and fewer on a quiet one. Before "
        "and after are means over held-out prompts and seeds that no step trained on "
        f"({', '.join(map(str, pairs))} pairs), each pair with the same noise. Higher is better in every row; a weighted sum "
        "is in units of the base model's spread where its terms are."
    )
    table = [line for result in results for line in (row(result), *parts(result))]
    lines = ["# Every tiny reward in one short alignment", "", about, "", _HEAD]
    lines += ["|" + "---|" * (_HEAD.count("|") - 1), *table]
    seen = [
        f"- **{result.file.stem}**: {note.read_text(encoding='utf-8').strip()}"
        for result in results
        if (note := SPECS / f"{result.file.stem}.md").exists()
    ]
    if seen:
        lines += ["", "## What one sees in the samples", "", *seen]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs the jobs and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these jobs")
    parser.add_argument(
        "--runs", type=Path, help="keep the run folders here, and use those that are"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", type=Path, help="also write the page to this file")
    options = parser.parse_args()
    runs = options.runs or Path(tempfile.mkdtemp(prefix="alignments-"))
    runs.mkdir(parents=True, exist_ok=True)
    results = []
    for file in jobs(options.names):
        results.append(run(file, runs.resolve(), options.threads))
        sys.stderr.write(row(results[-1]) + "\n")
    text = page(results, options.threads)
    sys.stdout.write(text)
    if options.write:
        options.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
