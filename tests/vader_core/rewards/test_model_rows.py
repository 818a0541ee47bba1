"""The rows of detectors and video models: what can be checked of them without their weights."""

from __future__ import annotations

import hashlib
import json

import pytest
from jsonschema import Draft202012Validator

from vader_core.catalogue import BUILT_IN, RewardRow

KINDS = {"object_removal", "object_presence", "vjepa", "action", "video_text"}
ROWS = [
    row
    for row in BUILT_IN.rewards.values()
    if row.kind in KINDS and row.weights is not None and row.weights.repo
]
# Public manifests give this for config.json of MCG-NJU/videomae-large-finetuned-kinetics at 0f6adcd.
KINETICS_CONFIG_SHA256 = "6f2007409b792e4843725a76fcf70ba215c2a53df575c74a5dc8821b7b249ca0"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row_says_where_its_facts_are_from_and_has_a_sound_schema(row: RewardRow) -> None:
    Draft202012Validator.check_schema(row.params_schema)
    assert row.source
    assert row.licence
    assert row.weights is not None
    assert row.weights.revision
    assert row.cost is not None
    assert row.cost.gflops is not None


def test_kinetics_targets_are_those_of_the_published_classifier_in_its_order() -> None:
    """Its config.json, written with our targets, is the published file byte for byte."""
    labels = BUILT_IN.rewards["action-videomae-large"].targets
    assert BUILT_IN.rewards["action-videomae-base"].targets == labels
    config = {
        "architectures": ["VideoMAEForVideoClassification"],
        "attention_probs_dropout_prob": 0.0,
        "decoder_hidden_size": 512,
        "decoder_intermediate_size": 2048,
        "decoder_num_attention_heads": 8,
        "decoder_num_hidden_layers": 12,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": 1024,
        "id2label": dict(enumerate(labels)),
        "image_size": 224,
        "initializer_range": 0.02,
        "intermediate_size": 4096,
        "label2id": {label: index for index, label in enumerate(labels)},
        "layer_norm_eps": 1e-12,
        "model_type": "videomae",
        "norm_pix_loss": True,
        "num_attention_heads": 16,
        "num_channels": 3,
        "num_frames": 16,
        "num_hidden_layers": 24,
        "patch_size": 16,
        "qkv_bias": True,
        "torch_dtype": "float32",
        "transformers_version": "4.22.0.dev0",
        "tubelet_size": 2,
        "use_mean_pooling": True,
    }
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    assert hashlib.sha256(text.encode()).hexdigest() == KINETICS_CONFIG_SHA256


def test_objects_are_the_kinds_of_coco_for_yolos_and_any_text_for_grounding_dino() -> None:
    for row in ROWS:
        if row.kind not in {"object_removal", "object_presence"}:
            continue
        check = Draft202012Validator(row.params_schema).is_valid
        assert check({"object": "book"})
        assert not check({})
        assert not check({"object": " "})
        assert not check({"object": "book", "else": 1})
        assert check({"object": "a red dragon"}) == ("grounding-dino" in row.id)


def test_videos_of_vjepa_rows_hide_what_the_paper_hides_unless_the_job_says_otherwise() -> None:
    for row in ROWS:
        if row.kind == "vjepa":
            assert row.options == {"masks": "blocks"}
            check = Draft202012Validator(row.params_schema).is_valid
            assert check({})
            assert check({"masks": "moments"})
            assert not check({"masks": "frames"})
