"""`python -m vader_core train SPEC.json --out DIR [--resume]`: a whole job without a service.

The spec is checked and signals are caught before torch is imported, which takes seconds.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
import time
from pathlib import Path

from pydantic import JsonValue

from vader_core.catalogue import Catalogue
from vader_core.ceilings import Spent
from vader_core.errors import SpecUnusable, TrainerError
from vader_core.faults import InvalidSpec
from vader_core.order import Order, fail, storage_fault
from vader_core.output import Output
from vader_core.resolve import check
from vader_core.run_folder import RunFolder
from vader_core.spec import JobSpec
from vader_core.stopping import StopFlag


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 done, 3 interrupted, else one of vader_core.errors."""
    started = time.monotonic()
    asked = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    folder = RunFolder(asked.out)
    output = Output(folder.metrics)
    stop = StopFlag(folder.stop_file)
    stop.catch_signals()
    try:
        catalogue = _catalogue(asked.catalogue)
        spec = _spec(asked.spec, catalogue)
        folder.prepare(spec, resume=asked.resume)
    except SpecUnusable as error:
        return fail(error, output, folder)
    except OSError as error:
        return fail(_folder_fault(error), output, folder)
    order = Order(
        spec=spec,
        catalogue=catalogue,
        folder=folder,
        resume=asked.resume,
        device=asked.device,
        threads=asked.threads,
        spent=Spent(
            gpu_seconds=asked.spent_gpu_seconds,
            wall_clock_s=asked.spent_wall_clock_s,
            cost_gpu_seconds=asked.cost_gpu_seconds,
        ),
        started=started,
    )
    # Imported only now: a faulty spec is answered without waiting for torch.
    train_command = importlib.import_module("vader_core.train_command")
    status: int = train_command.run(order, stop=stop, output=output)
    return status


def _spec(path: Path, catalogue: Catalogue) -> JobSpec:
    try:
        document: JsonValue = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SpecUnusable(
            f"{path} is not a readable JSON file: {error}", hint="Give the path of a job spec."
        ) from error
    try:
        return check(document, catalogue, lambda _prompt_set: None)
    except InvalidSpec as error:
        raise SpecUnusable(
            str(error), hint="Correct the fields at these JSON pointers and start again."
        ) from error


def _folder_fault(error: OSError) -> TrainerError:
    return storage_fault(error) or SpecUnusable(
        f"The output folder cannot be used: {error}", hint="Name a folder in --out."
    )


def _catalogue(path: Path | None) -> Catalogue:
    try:
        return Catalogue.load(path)
    except (OSError, ValueError) as error:
        raise SpecUnusable(
            f"The catalogue {path} is not usable: {error}", hint="Correct the file."
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vader_core", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="run one job")
    train.add_argument("spec", type=Path, metavar="SPEC.json", help="job spec with inline prompts")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    train.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    train.add_argument(
        "--catalogue", type=Path, metavar="FILE", help="rows beside the built-in ones"
    )
    train.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    train.add_argument("--threads", type=int, metavar="N", help="CPU threads of torch")
    train.add_argument("--spent-gpu-seconds", type=float, default=0.0, metavar="X")
    train.add_argument("--spent-wall-clock-s", type=float, default=0.0, metavar="Y")
    train.add_argument(
        "--cost-gpu-seconds", type=float, metavar="Z", help="GPU-seconds that max_cost buys"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
