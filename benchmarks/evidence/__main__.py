"""The evidence: trains every method on the tiny world, examines what came of it, writes docs/evidence.md.

    python -m benchmarks.evidence [tune | train | examine | report ...] --runs DIR [--minutes M] [--jobs 2]

Without words all four are done. A training that has ended in DIR is not run again, one that was stopped goes
on, and none is begun that would end after M minutes: the page says what is missing. With `--service` the
trainings are jobs of a running service, found as the `vader` command finds it.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.evidence import cosines, generalising, report, studies, tuning
from benchmarks.evidence.cells import Cell
from benchmarks.evidence.methods import TUNING_FILE, Tuning, read_tuning, write_tuning
from benchmarks.evidence.results import groups
from benchmarks.evidence.running import Interrupted, Runs, Trainer, train_all
from benchmarks.evidence.through_service import Service

ROOT = Path(__file__).parents[2]
STEPS = ("tune", "train", "examine", "report")
EXIT_STOPPED = 3


class Evidence:
    """The four steps, on one folder of runs."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.runs = Runs(options.runs.resolve())
        self._options = options
        self._train = _trainer(options)
        self._until = time.monotonic() + 60 * options.minutes
        self._training = False

    def stop(self) -> None:
        """Trainings write a checkpoint and end; another call goes on with them. May raise `Interrupted`."""
        if not self._training:
            raise Interrupted("no training")
        self._train.stop()

    def tune(self) -> None:
        """Tries what was not tried yet, and keeps what came of it."""
        found = self._tried(studies.rate_cells(), read_tuning(self._options.tuning))
        found = self._tried(studies.knob_cells(found.results if found else {}), found)
        if found is not None:
            write_tuning(found, self._options.tuning)

    def _tried(self, trials: tuning.Trials, known: Tuning | None) -> Tuning | None:
        self._train_all(tuning.missing(trials, known))
        return tuning.collect(trials, self.runs, known)

    def train(self) -> None:
        """Everything else, most important first."""
        self._train_all(studies.all_cells(self._tuning()))

    def _train_all(self, cells: Sequence[Cell]) -> None:
        self._training = True
        train_all(cells, self.runs, self._train, jobs=self._options.jobs, until=self._until)
        self._training = False

    def examine(self) -> None:
        """Finished adapters of the methods elsewhere, and the cosines."""
        found = self._tuning()
        cells = [cell for cell in studies.all_cells(found) if cell.study == "methods"]
        cells += studies.judged_trials()
        threads = self._options.threads
        for cell in generalising.examine_all(cells, self.runs, threads=threads, until=self._until):
            sys.stderr.write(f"{cell.title}: examined\n")
        for place in cosines.measure_all(
            studies.cosine_places(found), self.runs, threads=threads, until=self._until
        ):
            sys.stderr.write(f"cosines: {place.file_name}\n")

    def report(self) -> None:
        """The page of what there is."""
        found = self._tuning()
        page: Path = self._options.write
        tried = [cell for cell in studies.judged_trials() if self.runs.record(cell)]
        material = report.Material(
            tuning=found,
            groups=groups([*studies.all_cells(found), *tried], self.runs),
            cosines=cosines.read_all(self.runs),
            folder=page.with_suffix(""),
        )
        report.write(page, material)

    def _tuning(self) -> Tuning:
        found = read_tuning(self._options.tuning)
        if found is None:
            raise SystemExit(f"{self._options.tuning} is missing: run the step `tune` first")
        return found


def _trainer(options: argparse.Namespace) -> Trainer | Service:
    if not options.service:
        return Trainer(threads=options.threads)
    return Service(url=options.url, api_key=options.api_key, data_dir=options.data_dir)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}")
    parser.add_argument("--runs", type=Path, required=True, help="folder of all trainings")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="begin nothing that ends later"
    )
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    parser.add_argument("--threads", type=int, default=1, help="of each training")
    parser.add_argument("--tuning", type=Path, default=TUNING_FILE, help="the chosen rates")
    parser.add_argument(
        "--write", type=Path, default=ROOT / "docs" / "evidence.md", help="the page"
    )
    parser.add_argument("--service", action="store_true", help="train by jobs of a service")
    parser.add_argument("--url", help="where the service is")
    parser.add_argument("--api-key")
    parser.add_argument("--data-dir", type=Path, default=Path("vader-data"), help="of a `vader up`")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.steps) - set(STEPS))
    if unknown:
        parser.error(f"no step is called {', '.join(unknown)}; there are {', '.join(STEPS)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 done, 3 stopped from outside."""
    options = _options(arguments)
    evidence = Evidence(options)
    former = {
        number: signal.signal(number, lambda _number, _frame: evidence.stop())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        for step in STEPS:
            if not options.steps or step in options.steps:
                getattr(evidence, step)()
    except Interrupted as stopped:
        sys.stderr.write(f"stopped at {stopped}\n")
        return EXIT_STOPPED
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    return 0


if __name__ == "__main__":
    sys.exit(main())
