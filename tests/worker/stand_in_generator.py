"""A process that keeps the generator's contract without a model: the prompt says what it does.

hang          runs for minutes, with a process of its own beside it
crash         ends without a result
too_few       leaves a video out
wrong_hash    announces other bytes than it writes
(others)      writes a file for every video that is asked for; its bytes name what it was given
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

from vader_core.generating import (
    GeneratedVideo,
    GenerationOutput,
    GenerationResult,
    GenerationSpec,
)
from vader_core.lines import File


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["generate"])
    parser.add_argument("request", type=Path)
    parser.add_argument("--out", type=Path)
    for name in ("--device", "--threads", "--catalogue", "--weights"):
        parser.add_argument(name)
    asked = parser.parse_args()
    spec = GenerationSpec.model_validate(json.loads(asked.request.read_text()))
    do = spec.prompt
    sys.stderr.write("the generator's last words\n")
    if do == "crash":
        return 70
    if do == "hang":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
        time.sleep(300)
    asked.out.mkdir()
    given = sorted(
        path.relative_to(asked.request.parent).as_posix()
        for folder in ("adapter", "images")
        for path in (asked.request.parent / folder).rglob("*")
    )
    videos = []
    for role in spec.roles:
        for seed in spec.every_seed:
            data = json.dumps([role, seed, spec.adapter, given]).encode()
            path = asked.out / f"{role}-s{seed}.mp4"
            path.write_bytes(data)
            announced = b"others" if do == "wrong_hash" else data
            sha256 = hashlib.sha256(announced).hexdigest()
            file = File(path=path.name, size_bytes=len(data), sha256=sha256)
            videos.append(GeneratedVideo(role=role, seed=seed, file=file, scores=[]))
    made = GenerationResult(
        videos=videos[1:] if do == "too_few" else videos,
        sheet=None,
        device="cpu",
        precision="float32",
        seconds=0.1,
    )
    output = GenerationOutput(result=made)
    (asked.out / "result.json").write_text(output.model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
