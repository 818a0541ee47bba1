"""A process that keeps the scorer's contract without a model: `params.do` of the request says what it does.

(nothing)     scores every video by the number of its bytes
crash:N       exits with status N
kill          is killed as the kernel does when memory runs out
hang          runs for minutes, with a process of its own beside it
error         writes an error that no other attempt can mend
too_few       writes a result without scores
crash_once    crashes in the first attempt alone
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from vader_core.failure import Failure
from vader_core.scoring import ScoreOutput, ScoreResult, VideoScore


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["score"])
    parser.add_argument("request", type=Path)
    for name in ("--out", "--device", "--threads", "--catalogue", "--weights"):
        parser.add_argument(name)
    asked = parser.parse_args()
    request = json.loads(asked.request.read_text())
    do, _, value = str(request["params"].get("do", "")).partition(":")
    sys.stderr.write("the scorer's last words\n")
    if do == "crash" or (do == "crash_once" and os.environ["VADER_ATTEMPT"] == "1"):
        return int(value or "70")
    if do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "hang":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
        time.sleep(300)
    folder = asked.request.parent
    sizes = [(folder / video["file"]).stat().st_size for video in request["videos"]]
    scores = [] if do == "too_few" else [VideoScore(score=float(size)) for size in sizes]
    result = ScoreResult(reward=request["reward"], scores=scores, device="cpu", seconds=0.1)
    error = Failure(code="bad", message="Bad.", hint="", fault="user", retryable=False)
    output = ScoreOutput(error=error) if do == "error" else ScoreOutput(result=result)
    Path(asked.out).write_text(output.model_dump_json())
    return 2 if do == "error" else 0


if __name__ == "__main__":
    sys.exit(main())
