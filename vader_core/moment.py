"""Moments as clients write them: RFC 3339 with a time zone. Free of torch."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)")


def _written_out(given: object) -> object:
    """A number would be taken for seconds since 1970, and a time without a zone for anybody's."""
    if isinstance(given, datetime) and given.tzinfo is not None:
        return given
    if isinstance(given, str) and _RFC_3339.fullmatch(given):
        return given
    raise ValueError("give an RFC 3339 time with its time zone, for example 2026-11-24T06:00:00Z")


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]
