"""The kept videos of held-out pairs, base and adapter, and the sheet that shows them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from vader_core import lines
from vader_core.ceilings import utc_now
from vader_core.contact_sheet import PICTURES_PER_ROW, SheetRow, write_sheet
from vader_core.evaluation import Pair
from vader_core.files import described
from vader_core.output import Output
from vader_core.run_folder import RunFolder
from vader_core.video_files import write_mp4, write_strip

Role = Literal["base", "adapter"]


class Samples:
    """Writes the videos that it is given. A pair's base and adapter video go by the pair's name and the role."""

    def __init__(self, folder: RunFolder, output: Output, *, fps: int) -> None:
        self._folder, self._output, self._fps = folder, output, fps

    def write(self, pair: Pair, frames_FCHW: torch.Tensor, *, role: Role) -> None:
        """Writes the video and its strip for the sheet."""
        path = self._video(pair, role=role)
        write_mp4(path, frames_FCHW, fps=self._fps)
        write_strip(self.strip(pair, role=role), frames_FCHW, pictures=PICTURES_PER_ROW)

    def publish(
        self, pair: Pair, frames_FCHW: torch.Tensor, score: float, *, role: Role, step: int
    ) -> None:
        """Writes the video and sends its line."""
        self.write(pair, frames_FCHW, role=role)
        self.announce(pair, score, role=role, step=step)

    def announce(self, pair: Pair, score: float, *, role: Role, step: int) -> None:
        """Sends the line of a video that is written."""
        self._output.emit(
            lines.Sample(
                at=utc_now(),
                step=step,
                role=role,
                pair=pair.name,
                prompt_id=pair.prompt_id,
                prompt=pair.prompt.prompt,
                seed=pair.seed,
                score=score,
                file=described(self._video(pair, role=role), run_folder=self._folder.root),
            )
        )

    def _video(self, pair: Pair, *, role: Role) -> Path:
        return self._folder.samples / f"{pair.name}-{role}.mp4"

    def strip(self, pair: Pair, *, role: Role) -> Path:
        return self._folder.samples / f"{pair.name}-{role}.png"

    def publish_sheet(
        self,
        pairs: Sequence[Pair],
        scores: Sequence[tuple[float, float]],
        *,
        title: str,
        step: int,
    ) -> None:
        """Draws the sheet of `pairs` with their (base, adapter) scores and sends its line."""
        rows = [
            SheetRow(
                prompt=pair.prompt.prompt,
                seed=pair.seed,
                base_score=base_score,
                adapter_score=adapter_score,
                base_strip=self.strip(pair, role="base"),
                adapter_strip=self.strip(pair, role="adapter"),
            )
            for pair, (base_score, adapter_score) in zip(pairs, scores, strict=True)
        ]
        write_sheet(self._folder.sheet, rows, title=title)
        file = described(self._folder.sheet, run_folder=self._folder.root)
        self._output.emit(lines.Sheet(at=utc_now(), step=step, file=file))
