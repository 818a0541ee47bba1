from __future__ import annotations

from pathlib import Path

import pytest
from dotenv import dotenv_values

from client.stack.errors import FolderInUse, StackError
from client.stack.folder import held, open_folder, secret_key, write_settings


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "data")
    with held(folder), pytest.raises(FolderInUse, match="--data-dir"), held(folder):
        pass
    with held(folder):
        pass


def test_the_secret_key_is_made_once_and_private(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "data")
    first = secret_key(folder)
    assert len(first) == 64
    assert secret_key(folder) == first
    assert folder.secret_key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "value", ["plain", "with space", "it's", "back\\slash", 'a"b', "a#b", "$x"]
)
def test_settings_are_read_back_as_they_were_written(tmp_path: Path, value: str) -> None:
    folder = open_folder(tmp_path / "data")
    write_settings(folder, {"VADER_A": value, "VADER_B": "2"})
    assert dotenv_values(folder.settings) == {"VADER_A": value, "VADER_B": "2"}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="cannot be used"):
        open_folder(tmp_path / "file" / "data")


def test_a_path_that_addresses_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="must not have"):
        open_folder(tmp_path / "what?")
