"""docs/catalogue.md: every base model and every reward of the catalogue as tables, made from the rows.

python -m tests.catalogue_page    writes the page
"""

from __future__ import annotations

from pathlib import Path

from vader_core.catalogue import BUILT_IN, BaseModelRow, RewardRow, Weights

PAGE = Path(__file__).parents[1] / "docs" / "catalogue.md"
_HEAD = """# The catalogue

Made from `vader_core/rows/` by `python -m tests.catalogue_page`; `GET /v1/base-models` and `GET /v1/rewards` tell the same
and more. `python -m vader_core fetch ROW` copies a row's weights; "converted" means that `python -m vader_core convert`
rewrites them from the format they are published in. A revision is pinned in the catalogue where one is given; where none
is, the first fetch pins what it finds.

"""
_MODELS = """## Base models
Sizes in pixels; "from" says what besides the prompt a video is made from.

| id | pipeline | from | default size, frames | steps, guidance | variants | weights | licence |
|---|---|---|---|---|---|---|---|
"""
_REWARDS = """
## Rewards
Higher is better. "∇" marks rewards with a gradient, which the method `reward_gradient` needs; the others train on any. Every
one can be a guard; those that compare videos (`diversity`, `reference-distance`) can be nothing else. "†" marks those of
the paper and of its code (arXiv 2407.08737). Cost is the size of the model and the work of one forward, of a frame or of a video.

As a guard, a reward whose range starts at 0 may not fall below `min_ratio_to_base` (0.8) of the base model's mean; the mean of
any other may not fall by more than `max_drop` (0.5) standard deviations of the base model's single videos.

| id | what it scores | ∇ | per | range | cost | weights | licence |
|---|---|---|---|---|---|---|---|
"""


def expected_page() -> str:
    """The page as it should stand."""
    models = "".join(_model(row) for row in BUILT_IN.base_models.values())
    rewards = "".join(_reward(row) for row in BUILT_IN.rewards.values())
    return _HEAD + _MODELS + models + _REWARDS + rewards


def _model(row: BaseModelRow) -> str:
    defaults = row.defaults
    return _line(
        f"`{row.id}`",
        f"`{row.pipeline_class}`",
        "first image" if row.needs_image else "prompt",
        f"{defaults.width}x{defaults.height}, {defaults.num_frames}",
        f"{defaults.inference_steps}, {defaults.guidance_scale:g}",
        ", ".join(f"`{name}`" for name in row.variants) or "-",
        _weights(row.weights),
        row.licence,
    )


def _reward(row: RewardRow) -> str:
    cost = "-"
    if row.cost is not None:
        work = "" if row.cost.gflops is None else f", {row.cost.gflops:,.4g} GFLOP"
        cost = f"{row.cost.parameters_millions:,.4g} M{work}"
    low, high = ("" if end is None else f"{end:g}" for end in row.range)
    return _line(
        f"`{row.id}`{'†' if row.of_paper else ''}",
        row.title,
        "∇" if row.differentiable else "-",
        row.per,
        f"{low} to {high}" if low or high else "unbounded",
        cost,
        "-" if row.weights is None else _weights(row.weights),
        row.licence or "-",
    )


def _weights(weights: Weights) -> str:
    if weights.built_in is not None:
        return "built in"
    revision = f" at `{weights.revision[:10]}`" if weights.revision else ""
    converted = f", converted (`{weights.converter}`)" if weights.converter else ""
    return f"`{weights.repo}`{revision}{converted}"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(expected_page(), encoding="utf-8")
