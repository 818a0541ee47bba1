"""The points behind every figure as CSV files."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.evidence.cells import GUARDS
from benchmarks.evidence.cosines import Cosines
from benchmarks.evidence.results import Group, Outcome, name_of

Row = dict[str, object]


def write_all(folder: Path, groups: Sequence[Group], cosines: Sequence[Cosines]) -> list[Path]:
    """Writes points.csv, elsewhere.csv and cosines.csv; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "points.csv": point_rows(groups),
        "elsewhere.csv": elsewhere_rows(groups),
        "cosines.csv": cosine_rows(cosines),
    }
    return [_write(folder / name, list(rows)) for name, rows in files.items()]


def _write(file: Path, rows: Sequence[Row]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return file


def _who(outcome: Outcome) -> Row:
    cell = outcome.cell
    return {
        "study": cell.study,
        "task": cell.task,
        "base_model": cell.base_model,
        "label": cell.label,
        "learning_rate": cell.method["learning_rate"],
        "seed": cell.seed,
    }


def point_rows(groups: Iterable[Group]) -> Iterable[Row]:
    """One row for every evaluation of every training, failed ones included."""
    for group in groups:
        for outcome in (*group.ended, *group.failed):
            for point in outcome.record.points:
                interval = point.difference.delta_ci95 if point.difference else ("", "")
                guards = {name_of(guard.reward): guard for guard in point.guards}
                row: Row = {
                    **_who(outcome),
                    **point.used.model_dump(),
                    "core_share": outcome.record.core_share,
                    "heldout_reward": point.heldout_reward,
                    "change_low": interval[0],
                    "change_high": interval[1],
                    "verdict": point.verdict or "",
                }
                for name in (str(guard["reward"]) for guard in GUARDS):
                    guard = guards.get(name)
                    row[f"{name}_base"] = guard.base if guard else ""
                    row[name] = guard.adapter if guard else ""
                    row[f"{name}_ok"] = guard.ok if guard else ""
                yield row


def elsewhere_rows(groups: Iterable[Group]) -> Iterable[Row]:
    """One row for every adapter and set of prompts."""
    for group in groups:
        for outcome in group.ended:
            if outcome.generalisation is None:
                continue
            for name, found in outcome.generalisation.sets.items():
                before = found.judged_base.model_dump()
                after = found.judged_adapter.model_dump()
                yield {
                    **_who(outcome),
                    "set": name,
                    "videos": found.videos,
                    "base": found.difference.base,
                    "adapter": found.difference.adapter,
                    "change_low": found.difference.delta_ci95[0],
                    "change_high": found.difference.delta_ci95[1],
                    **{f"judged_{key}_base": share for key, share in before.items()},
                    **{f"judged_{key}": share for key, share in after.items()},
                }


def cosine_rows(cosines: Iterable[Cosines]) -> Iterable[Row]:
    """One row for every variant and place."""
    for one in cosines:
        for label, cosine in one.sites.items():
            mean, low, high = cosine.of_batches
            yield {
                "base_model": one.base_model,
                "task": one.task,
                "trained_queries": one.trained_queries,
                "label": label,
                "batches": one.batches,
                "cosine_mean": mean,
                "cosine_low": low,
                "cosine_high": high,
                "cosine_of_sum": cosine.of_sum,
                "norm_ratio": cosine.norm_ratio,
            }
