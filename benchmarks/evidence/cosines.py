"""How near each cheap variant's gradient comes to the full one, on the very same videos.

The full gradient is that through all denoising steps. A training step at learning rate 0 gives a variant's
gradient of the objective over a batch of fixed prompts and noise and changes nothing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from pydantic import BaseModel, ConfigDict, JsonValue

from benchmarks.evidence.cells import Cell, videos_per_step
from benchmarks.evidence.methods import METHODS
from benchmarks.evidence.running import Runs
from benchmarks.evidence.sites import FULL_SITE, SITES, Place, sites_of
from vader_core import adapter as adapters
from vader_core.catalogue import BUILT_IN
from vader_core.ceilings import Spent
from vader_core.methods import learner_of
from vader_core.order import Order
from vader_core.resolve import check
from vader_core.run_folder import RunFolder
from vader_core.spec import JobSpec
from vader_core.workbench import Workbench, set_up

# Batches of 8 videos for every variant.
BATCHES = 3
# A seed that no training uses.
_SEED = 200


class Cosine(BaseModel):
    """A variant's gradient against the full one: of single batches (mean, lowest, highest) and of the sum
    over all of them; `norm_ratio` is the sums' norms' ratio."""

    model_config = ConfigDict(extra="forbid")

    of_batches: tuple[float, float, float]
    of_sum: float
    norm_ratio: float


class Cosines(BaseModel):
    """The variants' cosines at one adapter, by the labels of `sites.SITES`."""

    model_config = ConfigDict(extra="forbid")

    base_model: str
    task: str
    trained_queries: int
    batches: int
    videos: int
    sites: dict[str, Cosine]


def measure_all(places: list[Place], runs: Runs, *, threads: int, until: float) -> Iterator[Place]:
    """Measures every place that is still missing and can be measured; yields it once its file is there.

    None is begun after `until` (of `time.monotonic`).
    """
    folder = runs.folder / "cosines"
    folder.mkdir(parents=True, exist_ok=True)
    for place in places:
        file = folder / place.file_name
        adapter = None if place.trained is None else runs.of(place.trained) / "adapter"
        if file.exists() or (adapter and not adapter.is_dir()) or time.monotonic() > until:
            continue
        found = measure(place, adapter, threads=threads)
        file.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
        yield place


def read_all(runs: Runs) -> list[Cosines]:
    """What has been measured, by the files' names."""
    files = sorted((runs.folder / "cosines").glob("*.json"))
    return [Cosines.model_validate_json(file.read_text(encoding="utf-8")) for file in files]


def measure(place: Place, adapter: Path | None, *, threads: int, batches: int = BATCHES) -> Cosines:
    """All variants at one place, `adapter` being the folder of its adapter."""
    with TemporaryDirectory() as scratch:
        bench = _bench(_spec(place, FULL_SITE), Path(scratch), threads=threads)
    if adapter is not None:
        adapters.restore(bench.adapter, adapter)
    full = _gradients(bench, _spec(place, FULL_SITE), batches)
    labels = [label for label in sites_of(place.task, place.base_model) if label != FULL_SITE]
    return Cosines(
        base_model=place.base_model,
        task=place.task,
        trained_queries=0 if place.trained is None else place.trained.queries,
        batches=batches,
        videos=videos_per_step(METHODS["reward_gradient"]),
        sites={
            label: compare(full, _gradients(bench, _spec(place, label), batches))
            for label in labels
        },
    )


def compare(full: list[torch.Tensor], cheap: list[torch.Tensor]) -> Cosine:
    """Gradients of the same batches, each as one vector."""
    single = [_cosine(one, other) for one, other in zip(full, cheap, strict=True)]
    full_sum, cheap_sum = torch.stack(full).sum(0), torch.stack(cheap).sum(0)
    return Cosine(
        of_batches=(statistics.fmean(single), min(single), max(single)),
        of_sum=_cosine(full_sum, cheap_sum),
        norm_ratio=float(cheap_sum.norm() / full_sum.norm()),
    )


def _cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0))


def _spec(place: Place, label: str) -> JobSpec:
    """The place's job with a variant's settings, without learning, penalty or limit on the gradient."""
    method: dict[str, JsonValue] = {
        **METHODS["reward_gradient"],
        **SITES[label],
        "learning_rate": 0.0,
        "prediction_penalty": 0.0,
        "max_grad_norm": 1e9,
    }
    cell = Cell("cosines", place.task, label, place.base_model, _SEED, 64, 64, method)
    return check(cell.spec, BUILT_IN, lambda _prompt_set: None)


def _bench(spec: JobSpec, folder: Path, *, threads: int) -> Workbench:
    order = Order(
        spec=spec,
        catalogue=BUILT_IN,
        images=folder,
        folder=RunFolder(folder),
        resume=False,
        device="auto",
        threads=threads,
        spent=Spent(),
        started=time.monotonic(),
    )
    return set_up(order)


def _gradients(bench: Workbench, spec: JobSpec, batches: int) -> list[torch.Tensor]:
    """The gradient of each batch as one vector; weights that no gradient reaches count as zeros."""
    learner = learner_of(bench, spec)
    found = []
    for number in range(batches):
        learner.step(number)
        parts = [
            torch.zeros(parameter.numel()) if parameter.grad is None else parameter.grad.flatten()
            for _, parameter in bench.adapter.parameters()
        ]
        found.append(torch.cat([part.detach().double().cpu() for part in parts]))
    return found
