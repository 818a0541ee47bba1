"""Faults that base models and rewards share: names that nothing has, weights that are not here. Free of torch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from vader_core.catalogue import BaseModelRow, RewardRow, Row
from vader_core.faults import Fault

# The one fault that is the operator's and not the spec's.
WEIGHTS_NOT_INSTALLED = "weights_not_installed"
# Characters of a name that nothing has, said back.
_SHOWN = 100


def unknown_row(what: str, name: str, rows: Mapping[str, Row], pointer: str) -> Fault:
    known = sorted(f"{row.id}@{row.version}" for row in rows.values())
    return Fault(
        pointer=pointer,
        code="unknown_" + what.replace(" ", "_"),
        detail=f"There is no {what} {name[:_SHOWN]!r}. Known: {', '.join(known)}.",
        nearest=list(difflib.get_close_matches(name, known, n=3, cutoff=0.4)),
    )


def missing_weights(row: BaseModelRow | RewardRow, what: str, pointer: str) -> list[Fault]:
    if row.installed or row.weights is None:
        return []
    cure = f"An operator runs `python -m vader_core fetch {row.id}`."
    if row.weights.repo is None:
        cure = "The folder that the catalogue names is missing."
    elif row.weights.converter is not None:
        cure = (
            f"They are published in another format: an operator runs `python -m vader_core fetch "
            f"{row.id} --file NAME` and `python -m vader_core convert {row.weights.converter}`."
        )
    detail = f"The weights of the {what} {row.id} are not installed here. {cure}"
    return [Fault(pointer=pointer, code=WEIGHTS_NOT_INSTALLED, detail=detail)]
