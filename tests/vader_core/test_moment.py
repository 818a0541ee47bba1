"""Moments that are taken, and others."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from vader_core.moment import Moment

MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


@pytest.mark.parametrize(
    "text",
    ["2026-11-24T06:00:00Z", "2026-11-24T07:00:00+01:00", "2026-11-24 06:00:00.0Z"],
)
def test_rfc_3339_with_a_zone_is_taken(text: str) -> None:
    assert MOMENT.validate_python(text) == datetime(2026, 11, 24, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    "given", [0.5, 1764000000, "0.5", "1764000000", "2026-11-24", "2026-11-24T06:00:00", True]
)
def test_anything_else_is_told_what_would_be_right(given: object) -> None:
    with pytest.raises(ValidationError, match="2026-11-24T06:00:00Z"):
        MOMENT.validate_python(given)
