from __future__ import annotations

import pytest
from scipy import special

from vader_core.student import quantile


@pytest.mark.parametrize("freedom", [1, 1.5, 2, 3, 7.3, 15, 31, 100, 5000, 999_999])
@pytest.mark.parametrize("probability", [0.51, 0.9, 0.975, 1 - 0.025 / 7, 1 - 1e-6])
def test_quantiles_are_those_of_scipy(freedom: float, probability: float) -> None:
    expected = float(special.stdtrit(freedom, probability))
    assert quantile(freedom, probability) == pytest.approx(expected, rel=1e-8)
