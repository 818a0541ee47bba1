"""What jobs can be made of: base models, rewards and methods; and whose credentials these are."""

from __future__ import annotations

from client.aio.calls import Calls
from client.models import BaseModelInfo, Me, MethodInfo, Page, RewardInfo
from client.paths import at


class CatalogueCalls(Calls):
    """The catalogue."""

    async def base_models(self) -> list[BaseModelInfo]:
        """The base models a job may start from, with their legal sizes."""
        return (await self._get(Page[BaseModelInfo], at("/v1/base-models"))).data

    async def base_model(self, name: str) -> BaseModelInfo:
        """One base model by id or id@version."""
        return await self._get(BaseModelInfo, at("/v1/base-models/{}", name))

    async def rewards(self) -> list[RewardInfo]:
        """The rewards a job may use."""
        return (await self._get(Page[RewardInfo], at("/v1/rewards"))).data

    async def reward(self, name: str) -> RewardInfo:
        """One reward by id or id@version."""
        return await self._get(RewardInfo, at("/v1/rewards/{}", name))

    async def methods(self) -> list[MethodInfo]:
        """The ways to train."""
        return (await self._get(Page[MethodInfo], at("/v1/methods"))).data

    async def method(self, name: str) -> MethodInfo:
        """One way to train, by the name that a spec's `method.type` has for it."""
        return await self._get(MethodInfo, at("/v1/methods/{}", name))

    async def me(self) -> Me:
        """Whose key this is and what it may do."""
        return await self._get(Me, at("/v1/me"))
