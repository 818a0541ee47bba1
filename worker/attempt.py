"""The life of one attempt at a job, from the claim to the last write."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from domain import artifacts, claims, progress
from domain.claims import Claim
from domain.settings import Settings, trainer_environment
from domain.store import ObjectStore
from vader_core.lines import AnyLine, Checkpoint
from worker import oom, orphans
from worker.conclude import conclude, unexpected
from worker.first_images import ImageLost, fetch_images
from worker.forward import Forwarder
from worker.lease import Lease, LeaseLost
from worker.limits import Patience
from worker.live_log import LiveLog
from worker.outcome import Ending, judge
from worker.resume import fetch_checkpoint
from worker.starts import StartLost, fetch_start
from worker.stopping import Stopping
from worker.trainer_process import TrainerProcess
from worker.transcript import Transcript
from worker.uploads import Uploads
from worker.workspace import Workspace

log = logging.getLogger(__name__)
LOOK_S = 0.1


@dataclass(frozen=True)
class Surroundings:
    """What every attempt of this worker works with. `drain` is set when the worker is to end."""

    settings: Settings
    store: ObjectStore
    drain: threading.Event


class Attempt:
    """One attempt. `held_since` is the monotonic time just before the claim."""

    def __init__(self, claim: Claim, around: Surroundings, *, held_since: float) -> None:
        self._claim, self._around, self._settings = claim, around, around.settings
        self._space = Workspace(around.settings.work_dir, claim)
        self._lease = Lease(
            claim.job_id, claim.attempt, settings=around.settings, held_since=held_since
        )

    def run(self) -> None:
        """Runs the trainer and writes down what came of it; leaves neither process nor folder.

        Whatever goes wrong with one job, this returns: the next one may be fine.
        """
        try:
            with self._lease:
                self._train_and_conclude()
        except LeaseLost as lost:
            log.warning("%s: the lease is lost, nothing more is written", lost)
        finally:
            self._space.remove()

    def _train_and_conclude(self) -> None:
        try:
            self._space.make(supervisor=orphans.this_process())
            self._space.fill(self._claim)
            with Forwarder(self._record) as forwarder:
                fetch_images(
                    self._claim, self._space, self._around.store, give_up=lambda: self._lease.lost
                )
                checkpoint = self._fetch_checkpoint()
                start = [] if checkpoint else self._fetch_start()
                with self._uploads(forwarder) as uploads:
                    with LiveLog(self._lease, self._space.log):
                        ending = self._train(checkpoint, start, forwarder, uploads)
                    forwarder.finish()
                    uploads.store_log(self._space.log)
                    conclude(judge(ending), lease=self._lease, uploads=uploads)
        except LeaseLost:
            raise
        except (ImageLost, StartLost) as lost:
            self._lease.write(claims.fail_attempt, error=lost.error)
        except Exception as error:
            log.exception("%s could not be carried through", self._lease.name)
            self._lease.write(claims.fail_attempt, error=unexpected(error))

    def _train(
        self,
        checkpoint: Checkpoint | None,
        start: list[str],
        forwarder: Forwarder,
        uploads: Uploads,
    ) -> Ending:
        """Runs the trainer to its end and stores what it announced on the way."""
        patience = Patience(self._settings.hang_min_s)
        transcript = Transcript(
            checkpoint=checkpoint, forwarder=forwarder, uploads=uploads, patience=patience
        )
        oom_kills = oom.kills()
        trainer = TrainerProcess(
            [*self._command(resume=checkpoint is not None), *start],
            folder=self._space.run,
            log_path=self._space.log,
            environment=trainer_environment(),
            mark=orphans.Mark(str(self._claim.job_id), self._claim.attempt, orphans.this_process()),
            on_line=transcript.hear,
        )
        self._lease.when_lost(trainer.kill)
        stopping = Stopping(
            trainer,
            claim=self._claim,
            lease=self._lease,
            settings=self._settings,
            drain=self._around.drain,
            patience=patience,
        )
        try:
            while (status := trainer.poll()) is None:
                forwarder.raise_failure()
                stopping.look()
                time.sleep(LOOK_S)
        finally:
            trainer.close()
        uploads.finish(patience_s=self._patience_with_the_store())
        return Ending(
            exit_status=status,
            cause=stopping.cause,
            killed=stopping.killed,
            last_step=transcript.last_step,
            done=transcript.done,
            failed=transcript.failed,
            interrupted=transcript.interrupted,
            checkpoint=transcript.checkpoint,
            pauses_at_ceilings=stopping.pauses_at_ceilings,
            stopped_by=stopping.stopped_by,
            oom_kills=None if oom_kills is None else (oom.kills() or 0) - oom_kills,
        )

    def _command(self, *, resume: bool) -> list[str]:
        claim, settings = self._claim, self._settings
        options: dict[str, object | None] = {
            "--out": self._space.run,
            "--device": settings.device,
            "--catalogue": settings.catalogue_file,
            "--weights": settings.weights_dir,
            "--images": self._space.images,
            "--threads": settings.trainer_threads,
            "--spent-gpu-seconds": claim.spent_gpu_seconds,
            "--spent-wall-clock-s": claim.spent_wall_clock_s,
            "--spent-reward-queries": claim.spent_reward_queries,
            "--spent-evaluation-queries": claim.spent_evaluation_queries,
            "--cost-gpu-seconds": claim.cost_gpu_seconds,
        }
        given = [(name, str(value)) for name, value in options.items() if value is not None]
        return [
            *(*settings.trainer_command, "train", str(self._space.spec)),
            *(word for option in given for word in option),
            *(["--resume"] if resume else []),
        ]

    def _patience_with_the_store(self) -> float:
        draining = self._around.drain.is_set()
        return self._settings.drain_grace_s if draining else self._settings.upload_retry_s

    def _fetch_checkpoint(self) -> Checkpoint | None:
        return fetch_checkpoint(
            self._claim,
            self._space,
            self._around.store,
            give_up=lambda: self._lease.lost,
            set_aside=self._set_aside,
        )

    def _set_aside(self, step: int, message: str) -> None:
        log.warning("%s: %s", self._lease.name, message)
        self._lease.write(artifacts.set_aside, step=step, message=message)

    def _fetch_start(self) -> list[str]:
        return fetch_start(
            self._claim, self._space, self._around.store, give_up=lambda: self._lease.lost
        )

    def _uploads(self, forwarder: Forwarder) -> Uploads:
        return Uploads(
            lease=self._lease,
            store=self._around.store,
            run=self._space.run,
            forwarder=forwarder,
            checkpoints=self._claim.spec.checkpoints,
            cancel_grace_s=self._settings.cancel_grace_s,
        )

    def _record(self, batch: list[AnyLine]) -> None:
        self._lease.write(progress.record, lines=batch)
