"""docs/trainer.md names every line type and every exit status that the code has."""

from __future__ import annotations

import re
from pathlib import Path

from vader_core import errors, lines
from vader_core import methods as methods_package
from vader_core.method_spec import SETTINGS

PAGE = (Path(__file__).parents[2] / "docs" / "trainer.md").read_text(encoding="utf-8")


def test_every_line_type_has_a_row() -> None:
    types = {line.model_fields["type"].default for line in lines.Line.__subclasses__()}
    table = PAGE.split("\n## Lines\n")[1].split("\n#")[0]
    assert types == set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))


def test_the_figures_that_have_a_row_are_those_of_the_methods() -> None:
    table = PAGE.split("\n### The methods' own figures\n")[1].split("\n#")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table, re.MULTILINE)
    methods = Path(methods_package.__file__).parent
    source = "".join(path.read_text(encoding="utf-8") for path in methods.glob("*.py"))
    assert {name for name, _ in rows if f'"{name}"' not in source} == set()
    assert {of for _, told in rows for of in re.findall(r"`(\w+)`", told)} >= set(SETTINGS)


def test_every_exit_status_has_a_row_with_its_code() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| `(\w+)` \|", PAGE, re.MULTILINE))
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert rows == {str(kind.exit_status): kind.code for kind in kinds}
