from __future__ import annotations

from typing import Any

import pytest

from domain.memory_estimates import GIB, Memory, memory
from tests import factories
from vader_core.catalogue import BUILT_IN
from vader_core.memory_table import TrainingMemory, training_memory
from vader_core.spec import Adapter, Guard, JobSpec, RewardTerm, Video

MODEL = "wan2.1-t2v-1.3b"


def table() -> TrainingMemory:
    row = training_memory(MODEL)
    assert row is not None
    return row


def asked(**changes: Any) -> JobSpec:
    """A resolved job with the settings of the table's row, whether its weights are here or not."""
    row = table()
    fields: dict[str, Any] = {
        "base_model": f"{MODEL}@1",
        "rewards": [RewardTerm(reward=row.reward)],
        "guards": [],
        "video": Video(width=row.width, height=row.height, num_frames=row.num_frames),
    }
    return factories.spec().model_copy(update={**fields, **changes})


def of(spec: JobSpec, *peaks_gib: float) -> Memory:
    return memory(spec, BUILT_IN, [int(gib * GIB) for gib in peaks_gib])


def test_the_tables_own_settings_give_the_tables_peak() -> None:
    found, row = of(asked()), table().bytes
    assert found.basis == "analytic"
    assert found.peak == pytest.approx(row.peak / GIB, rel=0.01)
    assert found.breakdown is not None
    held = {name: gib for name, gib in found.breakdown.items() if name != "text_encoder"}
    assert sum(held.values()) == pytest.approx(found.peak)
    assert found.breakdown["base"] == pytest.approx(sum(row.base_model.values()) / GIB)
    # All of it but the reward's own part is certain.
    assert found.at_least == pytest.approx(found.peak - found.breakdown["rewards"])


def test_activations_go_with_the_pixels_and_the_batch() -> None:
    row = table()
    half = of(
        asked(video=Video(width=row.width // 2, height=row.height, num_frames=row.num_frames))
    )
    usual = of(asked())
    assert half.breakdown is not None
    assert usual.breakdown is not None
    assert half.breakdown["activations"] == pytest.approx(usual.breakdown["activations"] / 2)
    assert half.breakdown["base"] == usual.breakdown["base"]
    # In proportion is no certainty.
    assert (half.at_least or 0) < (usual.at_least or 0)
    method = factories.spec(method={"batch_size": 2}).method
    double = of(asked(method=method))
    assert double.breakdown is not None
    assert double.breakdown["activations"] == pytest.approx(2 * usual.breakdown["activations"])


def test_the_optimiser_goes_with_the_rank_and_rewards_with_their_sizes() -> None:
    usual, wide = of(asked()), of(asked(adapter=Adapter(rank=64)))
    assert usual.breakdown is not None
    assert wide.breakdown is not None
    name = "adapter_and_optimizer"
    assert wide.breakdown[name] == pytest.approx(4 * usual.breakdown[name])
    judged = of(asked(guards=[Guard(reward="pickscore")]))
    assert judged.breakdown is not None
    cost = BUILT_IN.rewards["pickscore"].cost
    assert cost is not None
    more = judged.breakdown["rewards"] - usual.breakdown["rewards"]
    assert more == pytest.approx(cost.parameters_millions * 1e6 * 4 / GIB)


@pytest.mark.parametrize(
    "method",
    [
        {"differentiable_steps": 2},
        {"frames": {"mode": "random", "n": 2}},
        {"guidance_gradient": "both"},
        {"gradient_checkpointing": False},
        {"type": "grpo"},
    ],
)
def test_of_a_method_that_was_not_computed_only_the_weights_are_known(
    method: dict[str, Any],
) -> None:
    found = of(asked(method=factories.spec(method=method).method))
    assert (found.basis, found.peak, found.breakdown) == ("unknown", None, None)
    weights = sum(table().bytes.base_model.values()) / GIB
    assert weights < (found.at_least or 0) < 10 * weights
    assert "K=1" in found.detail


def test_another_precision_or_base_model_is_not_known() -> None:
    full = factories.spec(method={"precision": "fp32"}).method
    assert of(asked(method=full)).basis == "unknown"
    assert of(factories.spec()) == Memory(
        "unknown", None, None, None, "The memory of this base model was not computed."
    )


def test_what_runs_with_these_settings_took_goes_before_what_was_computed() -> None:
    found = of(asked(), 50.0, 52.0, 51.0)
    assert (found.basis, found.peak) == ("measured", 52.0)
    assert found.breakdown == of(asked()).breakdown
    assert of(asked(), 50.0, 52.0).basis == "analytic"


def test_what_was_enough_bounds_what_was_computed_as_needed() -> None:
    computed = of(asked()).at_least
    assert computed is not None
    assert computed > 5.0
    assert of(asked(), 5.0, 4.0, 3.0).at_least == 5.0
    assert of(asked(), 500.0, 4.0, 3.0).at_least == computed
