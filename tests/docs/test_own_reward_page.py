"""docs/own-reward.md and examples/own-reward: what they show works."""

from __future__ import annotations

import importlib.util
import json
import re
import threading
import tomllib
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest
import torch

from vader_core import rewards
from vader_core.catalogue import Catalogue, CatalogueFile, RewardRow
from vader_core.devices import Compute
from vader_core.rewards.entry_point import GROUP
from vader_core.rewards.http_endpoint import Endpoint
from vader_core.spec import Guard, Prompt

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own-reward"
PAGE = (ROOT / "docs" / "own-reward.md").read_text(encoding="utf-8")
PROMPTS = [Prompt(prompt="a red circle"), Prompt(prompt="a blue square")]


def module(path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    made = importlib.util.module_from_spec(found)
    found.loader.exec_module(made)
    return made


def example_row(name: str) -> RewardRow:
    return Catalogue.load(EXAMPLE / "catalogue.json").rewards[name]


def reward(row: RewardRow, **params: float) -> rewards.Reward:
    asked = Guard(reward=row.id, params=dict(params))
    return rewards.load(asked, row, Compute(torch.device("cpu"), torch.float32))


def videos() -> torch.Tensor:
    return torch.rand(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def url() -> Iterator[str]:
    handler = module(EXAMPLE / "endpoint.py").Handler
    handler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/score"
        server.shutdown()
        thread.join()


def test_the_example_endpoint_scores(url: str) -> None:
    row = example_row("our-endpoint")
    row = row.model_copy(update={"options": {**row.options, "url": url}})
    score = reward(row, strength=2.0).score(videos(), PROMPTS)
    assert torch.allclose(score, videos()[:, :, 2].flatten(1).mean(1) ** 2, atol=2e-3)


def test_the_example_package_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an installer leaves it: the module and what pyproject.toml says of its entry points."""
    package = EXAMPLE / "package"
    described = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    folder = tmp_path / "our_rewards-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {described['name']}\nVersion: 1\n"
    )
    lines = [f"{name} = {place}" for name, place in described["entry-points"][GROUP].items()]
    (folder / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(package)
    frames = videos().requires_grad_()
    score = reward(example_row("our-package")).score(frames, PROMPTS)
    assert torch.allclose(score, (frames[:, :, 0] - frames[:, :, 2]).flatten(1).mean(1))
    assert score.requires_grad


def test_the_pages_rows_are_rows() -> None:
    shown = [text for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
    kinds = [CatalogueFile.model_validate_json(text).rewards[0].kind for text in shown]
    assert kinds == ["http", "entry_point"]


def test_every_option_has_a_row_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|[^|\n]*\| ?(.*?) ?\|$", PAGE, re.MULTILINE))
    for name, field in Endpoint.model_fields.items():
        default = "" if field.is_required() or field.default is None else field.default
        text = f"{default:g}" if isinstance(default, float) else str(default)
        assert rows[name].strip("`") == text


def test_the_example_request_is_json() -> None:
    assert json.loads(re.findall(r"JSON: `(.*?)`,", PAGE)[0])["reward"] == "our-endpoint@1"
