from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vader_core.hub import Files, Hub, serving
from vader_core import weights_lock
from vader_core.__main__ import main
from vader_core.catalogue import BUILT_IN, Catalogue
from vader_core.errors import CatalogueUnusable, WeightsUnreadable
from vader_core.fetch import Order, fetch

OLD, NEW = "a" * 40, "b" * 40
REPO = "team/small-wan"


def pipeline(weights: bytes = b"weights") -> Files:
    index = {"_class_name": "WanPipeline", "vae": ["diffusers", "V"], "image_encoder": [None, None]}
    return {
        "model_index.json": json.dumps(index).encode(),
        "README.md": b"# a card",
        "all-in-one.safetensors": b"the same once more",
        "vae/config.json": b"{}",
        "vae/diffusion_pytorch_model.safetensors": weights,
        "vae/diffusion_pytorch_model.fp16.safetensors": b"half",
        "vae/diffusion_pytorch_model.bin": b"a pickle",
        "vae/modeling.py": b"code",
    }


def catalogue(weights_dir: Path, weights: dict[str, Any], **changes: Any) -> Catalogue:
    path = weights_dir.parent / "catalogue.json"
    base = BUILT_IN.base_models["tiny-wan"].model_dump(mode="json", exclude={"folder"})
    row = {**base, "id": "small-wan", "weights": weights, **changes}
    path.write_text(json.dumps({"base_models": [row]}))
    return Catalogue.load(path, weights_dir=weights_dir)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub({REPO: {OLD: pipeline(), NEW: pipeline(b"new weights")}})) as hub:
        yield hub


@pytest.fixture
def weights_dir(tmp_path: Path) -> Path:
    return tmp_path / "weights"


def fetched(hub: Hub, weights_dir: Path, weights: dict[str, Any], **order: Any) -> Path:
    rows = catalogue(weights_dir, weights, **order.pop("row", {}))
    return fetch(Order("small-wan", endpoint=hub.url, **order), rows, weights_dir)


def tree(folder: Path) -> set[str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found}


def test_only_the_parts_of_the_pipeline_are_copied_and_no_code(hub: Hub, weights_dir: Path) -> None:
    folder = fetched(hub, weights_dir, {"repo": REPO, "revision": OLD})
    assert folder == weights_dir / "team--small-wan"
    assert tree(weights_dir) == {
        "weights.lock.json",
        "team--small-wan/model_index.json",
        "team--small-wan/vae/config.json",
        "team--small-wan/vae/diffusion_pytorch_model.safetensors",
    }


def test_the_lock_names_commit_sizes_and_hashes(hub: Hub, weights_dir: Path) -> None:
    fetched(hub, weights_dir, {"repo": REPO, "revision": OLD})
    entry = json.loads((weights_dir / "weights.lock.json").read_text())["team--small-wan"]
    assert (entry["repo"], entry["commit"]) == (REPO, OLD)
    assert entry["files"]["vae/diffusion_pytorch_model.safetensors"] == {
        "sha256": hashlib.sha256(b"weights").hexdigest(),
        "size": 7,
    }


def test_an_unpinned_row_is_pinned_by_its_first_fetch(hub: Hub, weights_dir: Path) -> None:
    weights = {"repo": REPO}
    hub.repos[REPO] = {OLD: pipeline()}
    folder = fetched(hub, weights_dir, weights)
    hub.repos[REPO][NEW] = pipeline(b"new weights")
    hub.sent.clear()
    fetched(hub, weights_dir, weights)
    assert (folder / "vae/diffusion_pytorch_model.safetensors").read_bytes() == b"weights"
    assert hub.sent.count("vae/diffusion_pytorch_model.safetensors") == 0, "it was there already"
    fetched(hub, weights_dir, weights, revision=NEW)
    assert (folder / "vae/diffusion_pytorch_model.safetensors").read_bytes() == b"new weights"
    entry = weights_lock.locked(folder)
    assert entry is not None
    assert entry.commit == NEW


def test_another_pin_of_the_catalogue_has_to_be_asked_for(hub: Hub, weights_dir: Path) -> None:
    fetched(hub, weights_dir, {"repo": REPO, "revision": OLD})
    moved = {"repo": REPO, "revision": NEW}
    with pytest.raises(WeightsUnreadable, match=f"pinned at {OLD}") as caught:
        fetched(hub, weights_dir, moved)
    assert f"--revision {NEW}" in caught.value.hint
    row = catalogue(weights_dir, moved).base_models["small-wan"]
    with pytest.raises(WeightsUnreadable, match=f"the catalogue pins {NEW}"):
        weights_lock.check(row.folder, row.weights)
    fetched(hub, weights_dir, moved, revision=NEW)
    weights_lock.check(row.folder, row.weights)


def test_a_pinned_row_is_not_fetched_at_another_commit(hub: Hub, weights_dir: Path) -> None:
    with pytest.raises(WeightsUnreadable, match=f"pins {REPO} at {OLD}"):
        fetched(hub, weights_dir, {"repo": REPO, "revision": OLD}, revision=NEW)


def test_a_broken_off_copy_leaves_no_folder_and_is_gone_on_with(
    hub: Hub, weights_dir: Path
) -> None:
    weights = {"repo": REPO, "revision": OLD}
    hub.fail_at = "vae/config.json"
    with pytest.raises(WeightsUnreadable, match="cannot be fetched"):
        fetched(hub, weights_dir, weights)
    assert not (weights_dir / "team--small-wan").exists()
    hub.fail_at = None
    assert (fetched(hub, weights_dir, weights) / "vae/config.json").read_bytes() == b"{}"


def test_a_damaged_file_is_found_before_it_is_loaded(hub: Hub, weights_dir: Path) -> None:
    folder = fetched(hub, weights_dir, {"repo": REPO, "revision": OLD})
    (folder / "vae/config.json").write_bytes(b"")
    row = catalogue(weights_dir, {"repo": REPO, "revision": OLD}).base_models["small-wan"]
    with pytest.raises(WeightsUnreadable, match="has 0 bytes, not 2"):
        weights_lock.check(folder, row.weights)


def test_a_variant_brings_its_files_alone(hub: Hub, weights_dir: Path) -> None:
    hub.repos["team/fast"] = {OLD: {"fast.safetensors": b"lora", "other.safetensors": b"?"}}
    variant = {
        "title": "fast",
        "licence": "none",
        "weights": {"repo": "team/fast"},
        "weight_name": "fast.safetensors",
        "inference_steps": 2,
        "guidance_scale": 1.0,
    }
    row = {"variants": {"fast": variant}}
    folder = fetched(hub, weights_dir, {"repo": REPO}, variant="fast", row=row)
    assert tree(folder) == {"fast.safetensors"}
    placed = catalogue(weights_dir, {"repo": REPO}, **row).base_models["small-wan"]
    assert placed.variants["fast"].installed


def test_a_converters_files_are_named_one_by_one(hub: Hub, weights_dir: Path) -> None:
    weights = {"repo": REPO, "converter": "videocrafter2"}
    folder = fetched(hub, weights_dir, weights, named=("vae/diffusion_pytorch_model.bin",))
    assert folder == weights_dir / "team--small-wan"
    assert "vae/diffusion_pytorch_model.bin" in tree(folder)
    assert not {"vae/modeling.py", "README.md"} & tree(folder)
    with pytest.raises(WeightsUnreadable, match=r"has no model\.ckpt") as caught:
        fetched(hub, weights_dir, weights, named=("model.ckpt",))
    assert "all-in-one.safetensors" in caught.value.hint


def test_what_is_not_there_is_said(hub: Hub, weights_dir: Path) -> None:
    with pytest.raises(WeightsUnreadable, match="team/none cannot be fetched"):
        fetched(hub, weights_dir, {"repo": "team/none"})
    hub.repos["team/pickles"] = {
        OLD: {"model_index.json": pipeline()["model_index.json"], "vae/model.bin": b"?"}
    }
    with pytest.raises(WeightsUnreadable, match="has no safetensors"):
        fetched(hub, weights_dir, {"repo": "team/pickles"})
    with pytest.raises(CatalogueUnusable, match="no weights on the hub"):
        fetch(Order("tiny-wan"), BUILT_IN, weights_dir)
    with pytest.raises(CatalogueUnusable, match="no variant 'fast'"):
        fetch(Order("tiny-wan", variant="fast"), BUILT_IN, weights_dir)


def test_a_hub_that_does_not_answer_is_said(weights_dir: Path) -> None:
    rows = catalogue(weights_dir, {"repo": REPO, "revision": OLD})
    with pytest.raises(WeightsUnreadable, match="cannot be fetched: ConnectError"):
        fetch(Order("small-wan", endpoint="http://127.0.0.1:9"), rows, weights_dir)


def test_the_command_fetches_and_answers_with_an_exit_status(hub: Hub, weights_dir: Path) -> None:
    catalogue(weights_dir, {"repo": REPO, "revision": OLD})
    options = ["--catalogue", str(weights_dir.parent / "catalogue.json"), "--endpoint", hub.url]
    assert main(["fetch", "small-wan", "--weights", str(weights_dir), *options]) == 0
    assert (weights_dir / "team--small-wan" / "model_index.json").is_file()
    assert main(["fetch", "no-such-row", "--weights", str(weights_dir), *options]) == 9
