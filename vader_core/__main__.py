"""`python -m vader_core train|generate|score|fetch|convert|memory`: what the service does, without it.

`train SPEC --out DIR [--resume]` runs a job: the spec is checked and signals are caught before
torch is imported, which takes seconds. `generate REQUEST.json --out DIR` makes videos with an adapter or
a base model, `score REQUEST.json --out RESULT.json` tries a reward on a few videos. `fetch ROW` copies a row's weights from the hub and pins them;
`convert NAME` rewrites weights that are published in another format. `memory` says how much GPU memory
a job takes, without weights.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import re
import sys
import time
from pathlib import Path

from vader_core import generate_command, score_command, short_command
from vader_core.catalogue import DEFAULT_WEIGHTS_DIR, Catalogue
from vader_core.ceilings import Spent
from vader_core.errors import (
    EXIT_DONE,
    CatalogueUnusable,
    SpecUnusable,
    TrainerError,
    WeightsUnreadable,
)
from vader_core.faults import InvalidSpec
from vader_core.order import Order, Start, fail, storage_fault
from vader_core.output import Output
from vader_core.resolve import check
from vader_core.row_faults import WEIGHTS_NOT_INSTALLED
from vader_core.run_folder import RunFolder
from vader_core.spec import JobSpec
from vader_core.spec_file import read_spec
from vader_core.stopping import StopFlag

_log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 done, 3 interrupted, else one of vader_core.errors."""
    started = time.monotonic()
    asked = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    if asked.command == "train":
        return _train(asked, started)
    if asked.command in _SHORT:
        return _answer(asked, started)
    try:
        {"fetch": _fetch, "convert": _convert, "memory": _memory}[asked.command](asked)
    except TrainerError as error:
        _log.error("%s: %s %s", error.code, error.message, error.hint)
        return error.exit_status
    return EXIT_DONE


def _train(asked: argparse.Namespace, started: float) -> int:
    folder = RunFolder(asked.out)
    output = Output(folder.metrics)
    stop = StopFlag(folder.stop_file)
    stop.catch_signals()
    try:
        catalogue = Catalogue.load(asked.catalogue, weights_dir=asked.weights)
        spec = _spec(asked.spec, catalogue)
        start = _start(asked, spec)
        folder.prepare(spec, resume=asked.resume)
    except (CatalogueUnusable, SpecUnusable, WeightsUnreadable) as error:
        return fail(error, output, folder)
    except OSError as error:
        return fail(_folder_fault(error), output, folder)
    order = Order(
        spec=spec,
        catalogue=catalogue,
        images=asked.images or asked.spec.parent / "images",
        folder=folder,
        resume=asked.resume,
        device=asked.device,
        threads=asked.threads,
        spent=Spent(
            gpu_seconds=asked.spent_gpu_seconds,
            wall_clock_s=asked.spent_wall_clock_s,
            cost_gpu_seconds=asked.cost_gpu_seconds,
            reward_queries=asked.spent_reward_queries,
            evaluation_queries=asked.spent_evaluation_queries,
        ),
        started=started,
        start=start,
    )
    # Imported only now: a faulty spec is answered without waiting for torch.
    train_command = importlib.import_module("vader_core.train_command")
    status: int = train_command.run(order, stop=stop, output=output)
    return status


_SHORT = {"generate": generate_command.run, "score": score_command.run}


def _answer(asked: argparse.Namespace, started: float) -> int:
    order = short_command.Order(
        request=asked.request,
        out=asked.out,
        catalogue=asked.catalogue,
        weights=asked.weights,
        device=asked.device,
        threads=asked.threads,
        started=started,
    )
    return _SHORT[asked.command](order)


def _fetch(asked: argparse.Namespace) -> None:
    catalogue = Catalogue.load(asked.catalogue, weights_dir=asked.weights)
    # Imported only now: `train` has no use for a hub client.
    fetch = importlib.import_module("vader_core.fetch")
    order = fetch.Order(
        row_id=asked.row,
        variant=asked.variant,
        revision=asked.revision,
        named=tuple(asked.file),
        endpoint=asked.endpoint,
    )
    fetch.fetch(order, catalogue, asked.weights)


def _convert(asked: argparse.Namespace) -> None:
    # Imported only now: converters need torch.
    convert_command = importlib.import_module("vader_core.convert_command")
    convert_command.run(asked.name, dict(asked.source), asked.out)


def _memory(asked: argparse.Namespace) -> None:
    catalogue = Catalogue.load(asked.catalogue, weights_dir=asked.weights)
    # Imported only now: the estimate needs torch.
    memory_command = importlib.import_module("vader_core.memory_command")
    sizes = ("width", "height", "num_frames")
    settings = memory_command.Settings(
        reward=asked.reward,
        video={name: getattr(asked, name) for name in sizes if getattr(asked, name)},
        differentiable_steps=asked.differentiable_steps,
    )
    order = memory_command.Asked(
        asked.spec, asked.base_model, settings, as_json=asked.json, write=asked.write
    )
    memory_command.run(order, catalogue)


def _named_path(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=PATH")
    return name, Path(path)


def _commit(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{40}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a commit of 40 hex digits")
    return text


def _spec(path: Path, catalogue: Catalogue) -> JobSpec:
    document = read_spec(path)
    try:
        return check(document, catalogue, lambda _prompt_set: None)
    except InvalidSpec as error:
        if {fault.code for fault in error.faults} == {WEIGHTS_NOT_INSTALLED}:
            hint = "Fetch them into the folder given by --weights."
            raise WeightsUnreadable(str(error), hint=hint) from error
        raise SpecUnusable(
            str(error), hint="Correct the fields at these JSON pointers and start again."
        ) from error


def _start(asked: argparse.Namespace, spec: JobSpec) -> Start | None:
    """The folder to start from. Raises `SpecUnusable` where the spec names a start that was not given."""
    if asked.init_adapter is not None:
        return Start(asked.init_adapter, "weights")
    if asked.init_checkpoint is not None:
        return Start(asked.init_checkpoint, "full")
    if spec.init_from is not None:
        raise SpecUnusable(
            "The spec has `init_from`, and the trainer was not given those files.",
            hint="Give an adapter's folder with --init-adapter, or a checkpoint's with --init-checkpoint.",
        )
    return None


def _folder_fault(error: OSError) -> TrainerError:
    return storage_fault(error) or SpecUnusable(
        f"The output folder cannot be used: {error}", hint="Name a folder in --out."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vader_core", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _train_options(commands.add_parser("train", help="run one job"))
    _short_options(
        commands.add_parser("generate", help="make videos"),
        request="adapter or base model, prompt, settings",
        out="folder for videos and result.json",
    )
    _short_options(
        commands.add_parser("score", help="try a reward on videos"),
        request="reward and videos",
        out="JSON file to write",
    )
    _fetch_options(commands.add_parser("fetch", help="copy a row's weights from the hub"))
    _convert_options(commands.add_parser("convert", help="rewrite weights of another format"))
    _memory_options(commands.add_parser("memory", help="say how much GPU memory a job takes"))
    return parser


def _catalogue_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--catalogue", type=Path, metavar="FILE", help="rows beside the built-in ones"
    )
    command.add_argument(
        "--weights",
        type=Path,
        default=DEFAULT_WEIGHTS_DIR,
        metavar="DIR",
        help="fetched weights (default: %(default)s)",
    )


def _fetch_options(fetch: argparse.ArgumentParser) -> None:
    fetch.add_argument("row", metavar="ROW", help="id of a base model or reward")
    fetch.add_argument("--variant", metavar="NAME", help="the LoRA of that variant of the row")
    fetch.add_argument("--revision", type=_commit, metavar="SHA", help="replace what is pinned")
    fetch.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="NAME",
        help="a file that the row's converter reads, by its name in the repository; repeatable",
    )
    fetch.add_argument("--endpoint", metavar="URL", help="a mirror of the hub")
    _catalogue_options(fetch)


def _convert_options(convert: argparse.ArgumentParser) -> None:
    convert.add_argument("name", metavar="CONVERTER", help="as the row's `weights` name it")
    convert.add_argument(
        "--source",
        type=_named_path,
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="a published file or folder; repeatable",
    )
    convert.add_argument("--out", type=Path, required=True, metavar="DIR")


def _short_options(command: argparse.ArgumentParser, *, request: str, out: str) -> None:
    command.add_argument("request", type=Path, metavar="REQUEST.json", help=request)
    command.add_argument("--out", type=Path, required=True, metavar="PATH", help=out)
    _catalogue_options(command)
    command.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    command.add_argument("--threads", type=int, metavar="N", help="CPU threads of torch")


def _memory_options(memory: argparse.ArgumentParser) -> None:
    what = memory.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "spec",
        nargs="?",
        type=Path,
        metavar="SPEC",
        help="job spec with inline prompts, JSON or YAML",
    )
    what.add_argument("--base-model", metavar="ROW", help="one video a step at the row's defaults")
    what.add_argument("--all", action="store_true", help="every row whose configuration is known")
    memory.add_argument(
        "--reward",
        default="hps-v2.1",
        metavar="ROW",
        help="for --base-model (default: %(default)s)",
    )
    for name in ("width", "height", "num-frames"):
        memory.add_argument(f"--{name}", type=int, metavar="N", help="for --base-model")
    memory.add_argument(
        "--differentiable-steps", type=int, default=1, metavar="K", help="for --base-model"
    )
    memory.add_argument("--json", action="store_true", help="print bytes as JSON")
    memory.add_argument("--write", action="store_true", help="put rows into the package's table")
    _catalogue_options(memory)


def _train_options(train: argparse.ArgumentParser) -> None:
    train.add_argument(
        "spec", type=Path, metavar="SPEC", help="job spec with inline prompts, JSON or YAML"
    )
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    train.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    start = train.add_mutually_exclusive_group()
    start.add_argument(
        "--init-adapter", type=Path, metavar="DIR", help="start from this adapter's weights"
    )
    start.add_argument(
        "--init-checkpoint",
        type=Path,
        metavar="DIR",
        help="go on from this checkpoint of another run: optimiser, steps and counters too",
    )
    _catalogue_options(train)
    train.add_argument(
        "--images", type=Path, metavar="DIR", help="first images (default: images beside the spec)"
    )
    train.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    train.add_argument("--threads", type=int, metavar="N", help="CPU threads of torch")
    train.add_argument("--spent-gpu-seconds", type=float, default=0.0, metavar="X")
    train.add_argument("--spent-wall-clock-s", type=float, default=0.0, metavar="Y")
    train.add_argument("--spent-reward-queries", type=int, default=0, metavar="Q")
    train.add_argument("--spent-evaluation-queries", type=int, default=0, metavar="E")
    train.add_argument(
        "--cost-gpu-seconds", type=float, metavar="Z", help="GPU-seconds that max_cost buys"
    )


if __name__ == "__main__":
    sys.exit(main())
