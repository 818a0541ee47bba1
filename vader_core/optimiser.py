"""AdamW over the adapter's masters, and its state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.optim import AdamW

from vader_core.errors import CheckpointUnusable
from vader_core.method_spec import MethodSettings

_PARTS = ("step", "exp_avg", "exp_avg_sq")


class Optimiser:
    """AdamW (Loshchilov & Hutter, arXiv 1711.05101) with torch's defaults for betas and epsilon."""

    def __init__(self, parameters: list[tuple[str, nn.Parameter]], method: MethodSettings) -> None:
        self._parameters = parameters
        self._adamw = AdamW(
            [parameter for _, parameter in parameters],
            lr=method.learning_rate,
            weight_decay=method.weight_decay,
        )

    def forget_gradients(self) -> None:
        self._adamw.zero_grad(set_to_none=True)

    def gradients(self) -> list[torch.Tensor]:
        return [p.grad for _, p in self._parameters if p.grad is not None]

    def update(self, *, learning_rate: float) -> None:
        """One update by the gradients that are there."""
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        self._adamw.step()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Copies on the CPU under "<part>/<parameter>"; empty before the first update."""
        return {
            f"{part}/{name}": self._adamw.state[parameter][part].to("cpu", copy=True).contiguous()
            for name, parameter in self._parameters
            if parameter in self._adamw.state
            for part in _PARTS
        }

    def load_state_dict(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Takes what `state_dict` gave, and nothing else is left. Raises `CheckpointUnusable` where names do not fit.

        A weight that no gradient has ever reached has no state.
        """
        met = [(n, p) for n, p in self._parameters if f"{_PARTS[0]}/{n}" in tensors]
        if {f"{part}/{name}" for name, _ in met for part in _PARTS} != set(tensors):
            raise CheckpointUnusable(
                "The optimiser's tensors do not belong to this adapter.",
                hint="Rank, target modules and base model have to be those of the checkpoint.",
            )
        self._adamw.state.clear()
        for name, parameter in met:
            # The step counter stays on the CPU, as AdamW itself keeps it.
            self._adamw.state[parameter] = {
                part: tensors[f"{part}/{name}"].to("cpu" if part == "step" else parameter.device)
                for part in _PARTS
            }
