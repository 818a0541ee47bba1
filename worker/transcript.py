"""What a trainer has said so far, as far as its supervisor needs it, and who hears each line."""

from __future__ import annotations

from vader_core.lines import AnyLine, Checkpoint, Done, Failed, Interrupted, Sample, Sheet, Step
from worker.forward import Forwarder
from worker.limits import Patience
from worker.uploads import Uploads


class Transcript:
    """Called with every line in the reading thread; read by the supervisor when the trainer is gone."""

    def __init__(
        self,
        *,
        checkpoint: Checkpoint | None,
        forwarder: Forwarder,
        uploads: Uploads,
        patience: Patience,
    ) -> None:
        self.checkpoint = checkpoint
        self.last_step: Step | None = None
        self.done: Done | None = None
        self.failed: Failed | None = None
        self.interrupted: Interrupted | None = None
        self._forwarder, self._uploads, self._patience = forwarder, uploads, patience

    def hear(self, line: AnyLine) -> None:
        match line:
            case Checkpoint():
                self.checkpoint = line
            case Done():
                self.done = line
            case Failed():
                self.failed = line
            case Interrupted():
                self.interrupted = line
            case Step():
                self.last_step = line
                self._patience.saw_step(line.seconds)
        if isinstance(line, Sample | Sheet | Checkpoint):
            self._uploads.put(line)
        else:
            self._forwarder.put(line)
