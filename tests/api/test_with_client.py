"""The Python client against the real API: uploads, and a reward tried by a scorer."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from client import VaderClient
from client.errors import Conflict, Invalid
from domain import queue, scorings
from domain.settings import get_settings
from tests.api.files import MP4
from tests.api.teams import Team
from tests.worker.conftest import ROOT, set_short_times
from tests.worker.test_scoring import STAND_IN
from worker.scoring import work_of
from worker.short_duty import ShortDuty


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(MP4)
    return path


def test_a_reward_is_tried_on_a_local_video(
    serve: Callable[[], AbstractContextManager[str]],
    team: Team,
    film: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_short_times(monkeypatch, trainer_command=json.dumps([sys.executable, str(STAND_IN)]))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    get_settings.cache_clear()
    with serve() as url, VaderClient(url, team.token) as vader:
        uploaded = vader.upload(film)
        assert vader.upload(film, name="again") == uploaded
        assert [one.id for one in vader.uploads()] == [uploaded.id]
        video = {"upload": uploaded.id, "prompt": "a red square"}
        asked = vader.score("tiny-text-match", [video])
        with pytest.raises(Conflict, match="in use"):
            vader.delete_upload(uploaded.id)
        duty = ShortDuty(scorings.TASKS, work_of, kind="scoring", ring=queue.ring_scorer)
        scorer = threading.Thread(target=duty.work_until_idle, args=[""])
        scorer.start()
        ended = vader.wait_for_scoring(asked.id)
        scorer.join()
        assert (ended.status, ended.scores) == ("succeeded", [float(len(MP4))])
        assert ended.videos[0].upload == uploaded.id
        vader.delete_upload(uploaded.id)
        with pytest.raises(Invalid, match="There is no upload"):
            vader.score("tiny-text-match", [video])
        assert {one.id for one in vader.rewards()} >= {"tiny-action", "diversity"}
        assert vader.reward("tiny-action@1").needs_target
        assert vader.base_model("tiny-wan").weights.installed
        assert len(vader.base_models()) >= 2
