"""Base models, rewards and methods: what jobs can be made of."""

from __future__ import annotations

from fastapi import APIRouter

from api.deps import CatalogueDep
from api.openapi import problems
from api.schemas.catalogue import BaseModelPage, BaseModelShape, RewardPage, RewardShape
from api.schemas.methods import MethodPage, MethodShape
from domain.errors import NotFound
from vader_core.catalogue import find_row
from vader_core.method_catalogue import METHODS

router = APIRouter(tags=["catalogue"])


@router.get("/base-models")
def list_base_models(catalogue: CatalogueDep) -> BaseModelPage:
    """All base models with their limits and defaults."""
    rows = [BaseModelShape.of(row) for row in catalogue.base_models.values()]
    return BaseModelPage(data=rows, next_cursor=None, has_more=False)


@router.get("/base-models/{base_model_id}", responses=problems(404))
def get_base_model(base_model_id: str, catalogue: CatalogueDep) -> BaseModelShape:
    """One base model by `id` or `id@version`."""
    row = find_row(base_model_id, catalogue.base_models)
    if row is None:
        raise NotFound(f"There is no base model {base_model_id[:100]!r}.")
    return BaseModelShape.of(row)


@router.get("/rewards")
def list_rewards(catalogue: CatalogueDep) -> RewardPage:
    """All rewards with the JSON Schema of their `params`."""
    rows = [RewardShape.of(row) for row in catalogue.rewards.values()]
    return RewardPage(data=rows, next_cursor=None, has_more=False)


@router.get("/rewards/{reward_id}", responses=problems(404))
def get_reward(reward_id: str, catalogue: CatalogueDep) -> RewardShape:
    """One reward by `id` or `id@version`."""
    row = find_row(reward_id, catalogue.rewards)
    if row is None:
        raise NotFound(f"There is no reward {reward_id[:100]!r}.")
    return RewardShape.of(row)


@router.get("/methods")
def list_methods() -> MethodPage:
    """All training methods with the JSON Schema of their settings, defaults included."""
    rows = [MethodShape.of(row) for row in METHODS.values()]
    return MethodPage(data=rows, next_cursor=None, has_more=False)


@router.get("/methods/{method_id}", responses=problems(404))
def get_method(method_id: str) -> MethodShape:
    """One training method by the name that a spec's `method.type` has for it."""
    row = METHODS.get(method_id)
    if row is None:
        raise NotFound(f"There is no method {method_id[:100]!r}. Known: {', '.join(METHODS)}.")
    return MethodShape.of(row)
