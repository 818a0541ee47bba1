"""docs/trainer.md names every line type and every exit status that the code has."""

from __future__ import annotations

import re
from pathlib import Path

from vader_core import errors, lines

PAGE = (Path(__file__).parents[2] / "docs" / "trainer.md").read_text(encoding="utf-8")


def test_every_line_type_has_a_row() -> None:
    types = {line.model_fields["type"].default for line in lines.Line.__subclasses__()}
    assert types == set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))


def test_every_exit_status_has_a_row_with_its_code() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| `(\w+)` \|", PAGE, re.MULTILINE))
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert rows == {str(kind.exit_status): kind.code for kind in kinds}
