from __future__ import annotations

import json
from pathlib import Path

import pytest

from client.credentials import connect
from client.errors import NotConfigured


def _folder(tmp_path: Path) -> Path:
    kept = {"url": "http://127.0.0.1:8000", "api_key": "kept"}
    (tmp_path / "credentials.json").write_text(json.dumps(kept))
    return tmp_path


def _key(tmp_path: Path, *, url: str | None, api_key: str | None) -> tuple[str, str]:
    with connect(url=url, api_key=api_key, data_dir=_folder(tmp_path)) as client:
        return client.url, client._transport.http.headers["Authorization"]


def test_the_data_folder_gives_url_and_key(tmp_path: Path) -> None:
    assert _key(tmp_path, url=None, api_key=None) == ("http://127.0.0.1:8000", "Bearer kept")


def test_what_is_given_wins(tmp_path: Path) -> None:
    given = _key(tmp_path, url="https://vader.example", api_key="given")
    assert given == ("https://vader.example", "Bearer given")


def test_the_folders_key_is_not_sent_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(NotConfigured, match="No API key is known"):
        _key(tmp_path, url="https://vader.example", api_key=None)


def test_nothing_known_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotConfigured, match="VADER_URL"):
        connect(url=None, api_key=None, data_dir=tmp_path)


def test_the_environment_gives_what_is_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VADER_DATA_DIR", str(_folder(tmp_path)))
    with connect() as client:
        assert client.url == "http://127.0.0.1:8000"
    monkeypatch.setenv("VADER_URL", "https://vader.example")
    monkeypatch.setenv("VADER_API_KEY", "set")
    with connect() as client:
        assert (client.url, client._transport.http.headers["Authorization"]) == (
            "https://vader.example",
            "Bearer set",
        )
