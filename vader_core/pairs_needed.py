"""How many held-out pairs an interval of a wanted width needs, judged by the spread seen so far. Free of torch.

The deviation s of the prompts' mean differences is taken for that of prompts to come, with the same
seeds each: n prompts give Student's interval t(n - 1) * s / sqrt(n) to either side.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from vader_core.lines import PairsNeeded
from vader_core.plan import FEWEST_PROMPTS
from vader_core.statistics import (
    prompt_differences,
    rounding,
    student_half_width,
)

# More held-out prompts than anyone will have.
_MOST_PROMPTS = 1_000_000


def pairs_needed(
    base: Sequence[float],
    adapter: Sequence[float],
    *,
    prompt_ids: Sequence[str],
    wanted_half_width: float | None,
    resolution: float,
    looks: int = 1,
) -> PairsNeeded:
    """The estimate from scores that go pair by pair, as `paired_difference` takes them.

    Without a wanted half width it is for the size of the mean difference: the interval that would just
    part it from 0. A difference within the `resolution` is none.
    """
    differences = prompt_differences(base, adapter, prompt_ids=prompt_ids)
    seen = abs(statistics.fmean(differences))
    half_width = seen if wanted_half_width is None else wanted_half_width
    found = PairsNeeded(
        wanted="seen_difference" if wanted_half_width is None else "given",
        half_width=half_width,
        prompts=None,
        pairs=None,
    )
    if len(differences) < FEWEST_PROMPTS:
        return found.model_copy(update={"unknown_because": "too_few_prompts"})
    if wanted_half_width is None and seen <= resolution:
        return found.model_copy(update={"unknown_because": "no_difference"})
    spread = statistics.stdev(differences)
    if spread <= rounding([*base, *adapter]):
        return found.model_copy(update={"unknown_because": "no_spread"})
    prompts = _fewest_prompts(spread, half_width, looks)
    if prompts is None:
        return found.model_copy(update={"unknown_because": "out_of_reach"})
    seeds = len(base) // len(differences)
    return found.model_copy(update={"prompts": prompts, "pairs": prompts * seeds})


def _fewest_prompts(spread: float, half_width: float, looks: int) -> int | None:
    """The fewest prompts whose interval is narrow enough, found by halving: it narrows with each one."""
    too_few, enough = FEWEST_PROMPTS - 1, _MOST_PROMPTS
    if student_half_width(spread, enough, looks=looks) > half_width:
        return None
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if student_half_width(spread, middle, looks=looks) <= half_width:
            enough = middle
        else:
            too_few = middle
    return enough
