# Generated from client/aio/catalogue.py by `python -m tests.sync_client`. Do not edit.
"""What jobs can be made of: base models, rewards and methods; and whose credentials these are."""

from __future__ import annotations

from client.models import BaseModelInfo, Me, MethodInfo, Page, RewardInfo
from client.paths import at
from client.sync.calls import Calls


class CatalogueCalls(Calls):
    """The catalogue."""

    def base_models(self) -> list[BaseModelInfo]:
        """The base models a job may start from, with their legal sizes."""
        return (self._get(Page[BaseModelInfo], at("/v1/base-models"))).data

    def base_model(self, name: str) -> BaseModelInfo:
        """One base model by id or id@version."""
        return self._get(BaseModelInfo, at("/v1/base-models/{}", name))

    def rewards(self) -> list[RewardInfo]:
        """The rewards a job may use."""
        return (self._get(Page[RewardInfo], at("/v1/rewards"))).data

    def reward(self, name: str) -> RewardInfo:
        """One reward by id or id@version."""
        return self._get(RewardInfo, at("/v1/rewards/{}", name))

    def methods(self) -> list[MethodInfo]:
        """The ways to train."""
        return (self._get(Page[MethodInfo], at("/v1/methods"))).data

    def method(self, name: str) -> MethodInfo:
        """One way to train, by the name that a spec's `method.type` has for it."""
        return self._get(MethodInfo, at("/v1/methods/{}", name))

    def me(self) -> Me:
        """Whose key this is and what it may do."""
        return self._get(Me, at("/v1/me"))
