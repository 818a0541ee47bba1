"""docs/guides and docs/api.md: every block of every page is run, in order, against one running service.

A block's language says what becomes of it: `bash` and `python` are run, a language with a file's name behind
it (`yaml job.yaml`) becomes that file, `text`, `json` and `console` show what comes out and are left alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.stacks import Up

ROOT = Path(__file__).parents[2]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
PAGES = [ROOT / "docs" / "api.md", *GUIDES]
SHOWN_ONLY = {"text", "json", "console"}
LIMIT_S = 240
_BLOCK = re.compile(r"^```(\S+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def script(page: Path) -> str:
    """The page as one script: variables of one block are there in the next."""
    parts = ["set -euo pipefail", "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT"]
    for language, name, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if name:
            parts.append(f"cat > {name} <<'END_OF_BLOCK'\n{text}END_OF_BLOCK")
        elif language == "bash":
            parts.append(text)
        elif language == "python":
            parts.append(f"python - <<'END_OF_BLOCK'\n{text}END_OF_BLOCK")
        else:
            assert language in SHOWN_ONLY, f"{page.name}: what becomes of a {language} block?"
    return "\n".join(parts)


@pytest.fixture(scope="module")
def service() -> Iterator[dict[str, str]]:
    """URL and key of a service that runs for all pages."""
    with (
        tempfile.TemporaryDirectory(prefix="vader-", ignore_cleanup_errors=True) as folder,
        Up(Path(folder) / "data", "--trainer-threads", "1") as up,
    ):
        ready = up.ready()
        yield {"VADER_URL": ready["url"], "VADER_API_KEY": ready["api_key"]}


@pytest.mark.timeout(LIMIT_S + 60)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_guide_does_what_it_says(page: Path, service: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    # Works where the package is not installed, too.
    command = tmp_path / "bin" / "vader"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\nexec python -m client "$@"\n')
    command.chmod(0o755)
    bin_folder = f"{command.parent}:{Path(sys.executable).parent}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("VADER_")},
        **service,
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
    }
    done = subprocess.run(
        ["bash", "-c", script(page)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_there_is_a_guide_for_every_task() -> None:
    assert [page.stem for page in GUIDES] == [
        "budgets",
        "first-job",
        "moving-an-adapter",
        "own-base-model",
        "own-reward",
        "reading-the-verdict",
        "webhooks",
    ]
