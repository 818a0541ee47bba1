"""The life of one attempt at a scoring: fetch the videos, run `vader_core score`, write down what it gave.

The process that scores is supervised as a trainer is: a keeper lets nothing of it outlive this process,
and it is killed when the attempt's hold is lost, its time is up, or this worker must end.
"""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from domain import db, scorings
from domain.errors import ArtifactExpired, ChecksumMismatch, StaleAttempt, Unavailable
from domain.ids import to_public
from domain.scorings import ScoringClaim
from domain.settings import Settings, trainer_environment
from vader_core.scoring import ScoreFailure, ScoreOutput, ScoreResult
from worker import orphans, transfer
from worker.attempt import LOOK_S, Surroundings
from worker.trainer_process import TrainerProcess
from worker.workspace import Folder

log = logging.getLogger(__name__)
RETRY_S = 0.5
_LAST_WORDS = 4000
_KILLED = 128 + signal.SIGKILL


class HoldLost(Exception):
    """This attempt may not write any more; whatever it still has is thrown away."""


class Hold:
    """The right of one attempt to write, kept by heartbeats which the attempt's own loop sends.

    `held_since` is the monotonic time just before the claim.
    """

    def __init__(self, claim: ScoringClaim, settings: Settings, *, held_since: float) -> None:
        self.name = f"attempt {claim.attempt} of {to_public('scr', claim.scoring_id)}"
        self._holder = {"scoring_id": claim.scoring_id, "attempt": claim.attempt}
        self._settings = settings
        self._asked_at = self._confirmed_at = held_since

    def keep(self) -> None:
        """Sends a heartbeat if one is due. Raises `HoldLost`."""
        now = time.monotonic()
        if now - self._asked_at < self._settings.heartbeat_s:
            return
        self._asked_at = now
        try:
            self._change(scorings.heartbeat)
            self._confirmed_at = now
        except Unavailable:
            log.warning("%s: no heartbeat, the database is away", self.name)
            self._require()

    def write(self, change: Callable[..., object], **arguments: object) -> None:
        """`change(session, scoring_id=, attempt=, **arguments)` in a transaction of its own.

        While the database is away it tries again, for as long as it may. Raises `HoldLost`.
        """
        while True:
            try:
                return self._change(change, **arguments)
            except Unavailable:
                log.warning("%s waits for the database", self.name)
                self._require()
                time.sleep(RETRY_S)

    def _change(self, change: Callable[..., object], **arguments: object) -> None:
        try:
            with db.transaction() as session:
                change(session, **self._holder, **arguments)
        except StaleAttempt as stale:
            raise HoldLost(self.name) from stale

    def _require(self) -> None:
        """Others may take the scoring soon after `self_fence_s` without a confirmed heartbeat."""
        if time.monotonic() - self._confirmed_at > self._settings.self_fence_s:
            raise HoldLost(self.name)


class ScoringAttempt:
    """One attempt. `held_since` is the monotonic time just before the claim."""

    def __init__(self, claim: ScoringClaim, around: Surroundings, *, held_since: float) -> None:
        self._claim, self._around, self._settings = claim, around, around.settings
        self._folder = Folder(around.settings.work_dir, claim.scoring_id, claim.attempt)
        self._hold = Hold(claim, around.settings, held_since=held_since)

    def run(self) -> None:
        """Scores and writes down what came of it; leaves neither process nor folder.

        Whatever goes wrong with one scoring, this returns: the next one may be fine.
        """
        try:
            self._conclude(self._outcome())
        except HoldLost as lost:
            log.warning("%s: its hold is lost, nothing more is written", lost)
        finally:
            self._folder.remove()

    def _outcome(self) -> ScoreResult | ScoreFailure:
        """What came of it, whatever it was. Raises `HoldLost`."""
        try:
            self._folder.make(supervisor=orphans.this_process())
            request = self._folder.root / "request.json"
            request.write_text(json.dumps(self._request()), encoding="utf-8")
            return self._score(request, self._folder.root / "out.json")
        except HoldLost:
            raise
        except (ArtifactExpired, ChecksumMismatch) as error:
            return _failure("video_lost", f"A stored video cannot be used: {error}")
        except Unavailable as error:
            return _failure("storage_failed", f"A video cannot be had now: {error}", again=True)
        except Exception as error:
            log.exception("%s could not be carried through", self._hold.name)
            what = f"The worker could not carry the attempt through ({type(error).__name__})."
            return _failure("internal", what, hint="The worker's log says more.", again=True)

    def _conclude(self, outcome: ScoreResult | ScoreFailure) -> None:
        if isinstance(outcome, ScoreResult):
            self._hold.write(scorings.succeed, result=outcome.model_dump(mode="json"))
        else:
            log.warning("%s: %s: %s", self._hold.name, outcome.code, outcome.message)
            self._hold.write(scorings.fail_attempt, error=outcome)

    def _request(self) -> dict[str, object]:
        """What the scorer is asked, its videos fetched and checked by their sha256."""
        videos = []
        for i, video in enumerate(self._claim.videos):
            path = self._folder.root / f"video-{i}"
            self._fetch(video["key"], path, video["sha256"])
            said = {"prompt": video["prompt"], "target": video["target"]}
            videos.append({"file": path.name, **said})
        return {"reward": self._claim.reward, "params": self._claim.params, "videos": videos}

    def _fetch(self, key: str, path: Path, sha256: str) -> None:
        give_up_at = time.monotonic() + self._settings.upload_retry_s

        def give_up() -> bool:
            self._hold.keep()
            return self._around.drain.is_set() or time.monotonic() > give_up_at

        self._hold.keep()
        download = partial(self._around.store.download, key, path, sha256=sha256)
        transfer.while_away(download, give_up=give_up)

    def _score(self, request: Path, out: Path) -> ScoreResult | ScoreFailure:
        log_path = self._folder.root / "log.txt"
        mark = orphans.Mark(
            str(self._claim.scoring_id), self._claim.attempt, orphans.this_process()
        )
        process = TrainerProcess(
            self._command(request, out),
            folder=self._folder.root,
            log_path=log_path,
            environment=trainer_environment(),
            mark=mark,
            on_line=lambda _line: None,
        )
        try:
            status = self._wait(process)
        finally:
            process.close()
        if isinstance(status, ScoreFailure):
            return status
        outcome = _read(out, status=status, videos=len(self._claim.videos))
        if isinstance(outcome, ScoreFailure):
            words = log_path.read_text(encoding="utf-8", errors="replace")[-_LAST_WORDS:]
            log.warning("%s: the scorer's last words:\n%s", self._hold.name, words)
        return outcome

    def _wait(self, process: TrainerProcess) -> int | ScoreFailure:
        """The exit status; a failure when the process has to be killed. Raises `HoldLost`."""
        settings, started = self._settings, time.monotonic()
        must_end_at: float | None = None
        while (status := process.poll()) is None:
            self._hold.keep()
            now = time.monotonic()
            if now - started > settings.score_limit_s:
                what = f"Scoring took longer than {settings.score_limit_s:.0f} s."
                return _failure("time_limit", what, hint="Ask with fewer or shorter videos.")
            if self._around.drain.is_set():
                must_end_at = must_end_at or now + settings.drain_grace_s
                if now > must_end_at:
                    return _failure("worker_stopped", "The worker had to end.", again=True)
            time.sleep(LOOK_S)
        return status

    def _command(self, request: Path, out: Path) -> list[str]:
        settings = self._settings
        options = {
            "--out": out,
            "--device": settings.score_device,
            "--threads": settings.score_threads,
            "--catalogue": settings.catalogue_file,
            "--weights": settings.weights_dir,
        }
        given = [(name, str(value)) for name, value in options.items() if value is not None]
        words = [word for option in given for word in option]
        return [*settings.trainer_command, "score", str(request), *words]


def _read(out: Path, *, status: int, videos: int) -> ScoreResult | ScoreFailure:
    """What the scorer wrote before it ended with `status`."""
    try:
        output = ScoreOutput.model_validate_json(out.read_bytes())
    except (OSError, ValidationError):
        output = ScoreOutput()
    if output.error is not None:
        return output.error
    if output.result is not None and len(output.result.scores) == videos and status == 0:
        return output.result
    if status == _KILLED:
        return _failure(
            "host_out_of_memory",
            "The scorer was killed from outside, most likely because memory ran out.",
            hint="Ask with fewer, shorter or smaller videos.",
        )
    what = f"The scorer ended with exit status {status} and gave no scores."
    return _failure("scorer_crashed", what, hint="The worker's log has its last words.", again=True)


def _failure(code: str, message: str, *, hint: str = "", again: bool = False) -> ScoreFailure:
    return ScoreFailure(code=code, message=message, hint=hint, fault="platform", retryable=again)
