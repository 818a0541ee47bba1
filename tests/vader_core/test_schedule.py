from __future__ import annotations

import pytest

from vader_core.method_spec import RewardGradient
from vader_core.schedule import learning_rate


def rates(shape: str, *, warmup_steps: int, steps_total: int) -> list[float]:
    method = RewardGradient.model_validate(
        {"learning_rate": 1.0, "lr_schedule": shape, "warmup_steps": warmup_steps}
    )
    return [
        learning_rate(method, step=step, steps_total=steps_total) for step in range(steps_total)
    ]


@pytest.mark.parametrize("shape", ["constant", "linear", "cosine"])
def test_warm_up_rises_on_a_line_to_the_full_rate(shape: str) -> None:
    assert rates(shape, warmup_steps=4, steps_total=10)[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_constant_stays() -> None:
    assert set(rates("constant", warmup_steps=0, steps_total=5)) == {1.0}


def test_linear_falls_on_a_line() -> None:
    assert rates("linear", warmup_steps=0, steps_total=4) == [1.0, 0.75, 0.5, 0.25]


def test_cosine_is_at_one_half_in_the_middle_and_never_rises() -> None:
    falling = rates("cosine", warmup_steps=0, steps_total=10)
    assert falling[5] == pytest.approx(0.5)
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] < 0.05


def test_a_warm_up_as_long_as_the_run_is_legal() -> None:
    assert rates("linear", warmup_steps=3, steps_total=3)[-1] == 1.0
