"""Families of base models: what the trainer must know of each pipeline class, one module a family."""

from __future__ import annotations

import importlib
import importlib.util

from vader_core.catalogue import BaseModelRow
from vader_core.errors import CatalogueUnusable
from vader_core.families.family import Family


def family_of(row: BaseModelRow) -> Family:
    """The description that `row.family` names: `FAMILY` of the module of that name.

    It is imported only now: the classes behind a family take seconds to import. Raises
    `CatalogueUnusable` where there is no such module.
    """
    name = f"{__name__}.{row.family}"
    if not row.family.isidentifier() or importlib.util.find_spec(name) is None:
        raise CatalogueUnusable(
            f"The base model {row.id!r} is of the family {row.family!r}, which does not exist.",
            hint="Families are the modules of vader_core.families; `generic` fits most pipelines.",
        )
    family: Family = importlib.import_module(name).FAMILY
    return family
