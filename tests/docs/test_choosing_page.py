"""docs/choosing-a-method.md: its settings exist, its fragments are legal, its recipes are all there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from client.job_file import read_job
from vader_core.catalogue import Catalogue
from vader_core.method_spec import SETTINGS
from vader_core.resolve import check
from vader_core.spec import EarlyStop, JobSpec

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PAGE = (ROOT / "docs" / "choosing-a-method.md").read_text(encoding="utf-8")
JOBS: dict[str, Any] = {
    str(path.relative_to(EXAMPLES)): read_job(path) for path in EXAMPLES.rglob("*.yaml")
}
RECIPES = {name: job for name, job in JOBS.items() if "recipe" in job["labels"]}
ROW = re.compile(
    r"^\| \[[^\]]+\]\(\.\./examples/([^)]+)\) \| `([^`]+)` \| `([^`]+)` \| ([^|]+) \|", re.MULTILINE
)


def section(method: str) -> str:
    return PAGE.split(f"\n## `{method}`\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("method", SETTINGS)
def test_a_methods_settings_are_its_own(method: str) -> None:
    """The table under "setting", whose rows are the fields to turn."""
    table = section(method).split("| setting |")[1].split("\n\n")[0]
    named = {
        name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    assert named
    assert named <= set(SETTINGS[method].model_fields)


def test_every_method_has_a_section() -> None:
    assert re.findall(r"^## `(\w+)`$", PAGE, re.MULTILINE) == sorted(
        SETTINGS, key=lambda name: PAGE.index(f"## `{name}`")
    )


@pytest.mark.parametrize("fragment", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_a_fragment_is_part_of_a_job(fragment: str) -> None:
    shown: dict[str, Any] = yaml.safe_load(fragment)
    job = read_job(EXAMPLES / "demo.yaml") | shown | {"rewards": [{"reward": "tiny-text-match"}]}
    spec = check(job, Catalogue.load(), lambda _: None)
    assert spec.method.model_dump(include=set(shown["method"])).keys() == shown["method"].keys()


def test_the_recipes_are_those_of_the_examples() -> None:
    rows = {name: (base_model, method) for name, base_model, method, _ in ROW.findall(PAGE)}
    assert rows == {
        name: (job["base_model"], job["method"]["type"]) for name, job in RECIPES.items()
    }


def test_a_recipe_is_shown_with_its_rewards() -> None:
    for name, _, _, rewards in ROW.findall(PAGE):
        spec = JobSpec.model_validate(RECIPES[name])
        assert re.findall(r"`([^`]+)`", rewards) == [term.reward for term in spec.rewards]


def test_every_early_stop_has_a_row() -> None:
    table = PAGE.split("| `early_stop.metric` |")[1].split("\n\n")[0]
    metrics = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert set(metrics) == set(get_args(EarlyStop.model_fields["metric"].annotation))
