"""A process that keeps the trainer's contract (arguments, lines, files, signals) without a model.

`python line_trainer.py train SPEC --out DIR [--resume] ...`, for tests of what surrounds the trainer. Its
"weights" are a chain of sha256 over (seed, step), so that a resumed run can be compared with one that was
left alone. The spec's labels choose what goes wrong:

    step_s            seconds of a step (default 0.05)
    load_s            seconds before the first line (default 0)
    fail_at           step at which it fails, in attempts up to `fail_attempts` (default 99)
    fail_how          exit:N | signal:N | error:user | error:retryable | error:out_of_memory | hang
    evaluate_s        seconds that the final evaluation takes (default 0)
    export_s          seconds that the export takes (default 0)
    ignore_stop       any text: stop.json and SIGTERM are ignored
    grandchild        any text: starts a process that would run for minutes
    stray_output      any text: writes a line that is none to stdout
    wrong_sha         samples | adapter: announces a wrong sha256

Of every first image it tells the sha256, as a warning. A step takes 8 reward queries.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from vader_core import lines
from vader_core.present_budget import Ceilings, PresentBudget
from vader_core.spec import Budget, JobSpec
from vader_core.training_hash import training_hash

START = time.monotonic()
ASKED = {"reward_queries", "gpu_seconds", "wall_clock", "deadline", "cost"}


class Run:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.spec = JobSpec.model_validate_json(Path(arguments.spec).read_bytes())
        self.out: Path = arguments.out
        self.labels = self.spec.labels
        self.resume: bool = arguments.resume
        self.spent: float = arguments.spent_gpu_seconds
        self.spent_queries: int = arguments.spent_reward_queries
        self.repeated = lines.Repeated()
        self.step, self.weights = 0, hashlib.sha256(str(self.spec.seed).encode()).hexdigest()
        self.images: Path = arguments.images
        self.interrupted = False
        self.init_adapter: Path | None = arguments.init_adapter
        self.init_checkpoint: Path | None = arguments.init_checkpoint
        self.present = PresentBudget(
            self.out / "budget.json", Ceilings(budget=self.spec.budget, cost_gpu_seconds=None)
        )

    def main(self) -> int:
        signal.signal(signal.SIGTERM, self.on_signal)
        sys.stderr.write("the human log\n")
        sys.stderr.flush()
        time.sleep(float(self.labels.get("load_s", "0")))
        self.present.look()
        resumed_from = self.load_newest_checkpoint() if self.resume else None
        if resumed_from is None:
            resumed_from = self.load_start()
        self.repeated = lines.Repeated(reward_queries=max(0, self.spent_queries - 8 * self.step))
        self.say(
            lines.Started,
            resumed_from=resumed_from,
            device="cpu",
            precision="fp32",
            steps_total=self.present.budget.max_steps,
            trainable_parameters=64,
            versions={"line_trainer": "1"},
        )
        self.tell_images()
        if "stray_output" in self.labels:
            sys.stdout.write("this is not a line\n")
        if "grandchild" in self.labels:
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
        if resumed_from is None:
            self.evaluate("base")
        self.say(lines.Phase, phase="training")
        while True:
            reason = self.stop_reason()
            pauses = self.budget.on_exhausted == "pause" and reason in ASKED
            if reason != "completed_steps" and (self.interrupted or pauses):
                return self.interrupt(None if self.interrupted else reason)
            if reason is None:
                self.fail_if_asked()
                self.train_step()
                continue
            if reason != "cancelled":
                self.evaluate("final")
                time.sleep(float(self.labels.get("evaluate_s", "0")))
                if self.stop_reason() is None:
                    self.say(lines.Phase, phase="training")
                    continue
            return self.finish(reason)

    def interrupt(self, ceiling: lines.StopReason | None) -> int:
        self.save_checkpoint()
        self.say(lines.Interrupted, ceiling=ceiling)
        return 3

    def tell_images(self) -> None:
        for prompt in self.spec.prompts.inline or []:
            if prompt.image is not None:
                path = self.images / prompt.image
                self.say(lines.Warned, code="first_image", message=sha256(path))

    def on_signal(self, _number: int, _frame: object) -> None:
        self.interrupted = "ignore_stop" not in self.labels

    def stop_reason(self) -> lines.StopReason | None:
        if self.step >= self.budget.max_steps:
            return "completed_steps"
        most = self.budget.max_reward_queries
        if most is not None and 8 * (self.step + 1) + self.repeated.reward_queries > most:
            return "reward_queries"
        path = self.out / "stop.json"
        if "ignore_stop" in self.labels or not path.exists():
            return None
        reason: lines.StopReason = json.loads(path.read_text())["reason"]
        return reason

    @property
    def budget(self) -> Budget:
        self.present.look()
        return self.present.budget

    def load_start(self) -> int | None:
        """What another job left: its weights alone, or its whole state."""
        if self.init_adapter is not None:
            self.weights = (self.init_adapter / "adapter_model.safetensors").read_text()
        if self.init_checkpoint is None:
            return None
        state = json.loads((self.init_checkpoint / "state.json").read_text())
        self.step, self.weights = state["step"], state["weights"]
        return self.step

    def train_step(self) -> None:
        seconds = float(self.labels.get("step_s", "0.05"))
        time.sleep(seconds)
        self.step += 1
        self.weights = hashlib.sha256(f"{self.weights}{self.step}".encode()).hexdigest()
        self.say(
            lines.Step,
            loss=-self.reward(),
            reward=self.reward(),
            reward_std=0.1,
            rewards={"tiny-action": self.reward()},
            penalty=0.0,
            grad_norm=1.0,
            learning_rate=1e-4,
            seconds=seconds,
            stage_seconds=lines.StageSeconds(
                prefix=seconds, last_k=0, decode=0, reward=0, backward=0, optimiser=0
            ),
            reward_queries=8 * self.step,
            evaluation_queries=4,
            repeated=self.repeated,
            gpu_seconds=self.gpu_seconds(),
            peak_memory_bytes=1,
            denoiser_forwards=72 * self.step,
        )
        if self.step % self.spec.checkpoints.every_steps == 0:
            self.save_checkpoint()

    def finish(self, reason: lines.StopReason) -> int:
        if reason == "cancelled":
            self.save_checkpoint()
        self.say(lines.Phase, phase="exporting")
        time.sleep(float(self.labels.get("export_s", "0")))
        files = self.write_adapter(self.out / "adapter")
        if self.labels.get("wrong_sha") == "adapter":
            files = [file.model_copy(update={"sha256": "0" * 64}) for file in files]
        self.say(
            lines.Done,
            stop_reason=reason,
            verdict=None if reason == "cancelled" else "improved",
            reward_queries=8 * self.step,
            evaluation_queries=8,
            repeated=self.repeated,
            gpu_seconds=self.gpu_seconds(),
            path="adapter",
            files=files,
        )
        return 0

    def evaluate(self, kind: str) -> None:
        self.say(lines.Phase, phase="evaluating_base" if kind == "base" else "evaluating")
        role = "base" if kind == "base" else "adapter"
        path = self.out / "samples" / f"p_0-s11-{role}.mp4"
        self.write(path, f"video {role} {self.weights}")
        file = self.file(path)
        if self.labels.get("wrong_sha") == "samples":
            file = file.model_copy(update={"sha256": "0" * 64})
        self.say(
            lines.Sample,
            role=role,
            pair="p_0-s11",
            prompt_id="p_0",
            prompt="a red circle moving left",
            seed=11,
            score=self.reward(),
            file=file,
        )
        sheet = self.out / "sheet.png"
        self.write(sheet, f"sheet {self.weights}")
        self.say(lines.Sheet, file=self.file(sheet))
        difference = lines.RewardDifference(
            base=0.5, adapter=self.reward(), delta=self.reward() - 0.5, delta_ci95=(0.01, 0.2)
        )
        self.say(
            lines.EvaluationDone,
            kind=kind,
            pairs=1,
            heldout_reward=self.reward(),
            baseline_heldout_reward=0.5,
            difference=None if kind == "base" else difference,
            per_reward={} if kind == "base" else {"tiny-action": difference},
            guards=[],
            verdict=None if kind == "base" else "improved",
            reward_queries=8 * self.step,
            evaluation_queries=4,
            repeated=self.repeated,
            seconds=0.01,
        )

    def save_checkpoint(self) -> None:
        name = f"step-{self.step:06d}"
        staged, final = self.out / "checkpoints" / f"tmp-{name}", self.out / "checkpoints" / name
        if final.exists():
            return
        self.write_adapter(staged / "adapter")
        state = {"step": self.step, "weights": self.weights, "hash": training_hash(self.spec)}
        self.write(staged / "state.json", json.dumps(state))
        hashes = {p.relative_to(staged).as_posix(): sha256(p) for p in files_under(staged)}
        self.write(staged / "manifest.json", json.dumps(hashes))
        staged.rename(final)
        listed = [self.file(path) for path in files_under(final)]
        counters = lines.Counters(
            reward_queries=8 * self.step, evaluation_queries=4, gpu_seconds=self.gpu_seconds()
        )
        self.say(lines.Checkpoint, path=f"checkpoints/{name}", files=listed, counters=counters)

    def load_newest_checkpoint(self) -> int | None:
        for folder in sorted((self.out / "checkpoints").glob("step-*"), reverse=True):
            hashes = json.loads((folder / "manifest.json").read_text())
            if all(sha256(folder / path) == digest for path, digest in hashes.items()):
                state = json.loads((folder / "state.json").read_text())
                assert state["hash"] == training_hash(self.spec)
                self.step, self.weights = state["step"], state["weights"]
                return self.step
            self.say(lines.Warned, code="checkpoint_corrupt", message=str(folder))
        return None

    def fail_if_asked(self) -> None:
        how = self.labels.get("fail_how", "")
        attempts = int(self.labels.get("fail_attempts", "99"))
        if (
            str(self.step) != self.labels.get("fail_at")
            or int(os.environ["VADER_ATTEMPT"]) > attempts
        ):
            return
        kind, _, value = how.partition(":")
        if kind == "error":
            codes = {"user": "reward_not_finite", "retryable": "storage_failed"}
            self.say(
                lines.Failed,
                code=codes.get(value, value),
                message="The reward gave NaN.",
                hint="Lower the learning rate.",
                fault="platform" if value == "retryable" else "user",
                retryable=value == "retryable",
                last_checkpoint=None,
            )
            sys.exit(12)
        if kind == "exit":
            sys.exit(int(value))
        if kind == "signal":
            os.kill(os.getpid(), int(value))
        time.sleep(3600)

    def write_adapter(self, folder: Path) -> list[lines.File]:
        self.write(folder / "adapter_model.safetensors", self.weights)
        self.write(folder / "adapter_config.json", "{}")
        return [self.file(path) for path in files_under(folder)]

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def file(self, path: Path) -> lines.File:
        name = path.relative_to(self.out).as_posix()
        return lines.File(path=name, size_bytes=path.stat().st_size, sha256=sha256(path))

    def reward(self) -> float:
        return 0.5 + self.step / 100

    def gpu_seconds(self) -> float:
        return self.spent + time.monotonic() - START

    def say(self, line_type: type[lines.Line], **values: object) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = line_type.model_validate({"at": now, "step": self.step, **values})
        sys.stdout.write(line.model_dump_json() + "\n")
        sys.stdout.flush()


def files_under(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["train"])
    parser.add_argument("spec")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--catalogue")
    parser.add_argument("--weights")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--device")
    parser.add_argument("--threads")
    parser.add_argument("--spent-gpu-seconds", type=float, default=0)
    parser.add_argument("--spent-wall-clock-s", type=float, default=0)
    parser.add_argument("--spent-reward-queries", type=int, default=0)
    parser.add_argument("--spent-evaluation-queries", type=int, default=0)
    parser.add_argument("--cost-gpu-seconds", type=float)
    parser.add_argument("--init-adapter", type=Path)
    parser.add_argument("--init-checkpoint", type=Path)
    return Run(parser.parse_args()).main()


if __name__ == "__main__":
    sys.exit(main())
