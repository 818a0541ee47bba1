from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vader_core import convert_command
from vader_core.__main__ import main
from vader_core.errors import SpecUnusable


def test_the_command_writes_what_the_converter_makes(tmp_path: Path) -> None:
    published = tmp_path / "published"
    published.mkdir()
    torch.save({"weight": torch.ones(2)}, published / "pytorch_model.bin")
    (published / "config.json").write_text("{}")
    out = tmp_path / "out"
    options = ["--source", f"folder={published}", "--out", str(out)]
    assert main(["convert", "transformers_bin", *options]) == 0
    assert (out / "model.safetensors").is_file()


def test_an_unknown_converter_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(SpecUnusable) as caught:
        convert_command.run("no_such", {}, tmp_path)
    assert "transformers_bin" in caught.value.hint
    assert "published" not in caught.value.hint, "a helper, not a converter"


def test_wrong_sources_are_answered_with_what_each_has_to_be(tmp_path: Path) -> None:
    with pytest.raises(SpecUnusable, match="see folder, other") as caught:
        convert_command.run("transformers_bin", {"other": tmp_path}, tmp_path / "out")
    assert "pytorch_model.bin" in caught.value.hint
    with pytest.raises(SpecUnusable, match="no such file"):
        convert_command.run("transformers_bin", {"folder": tmp_path / "none"}, tmp_path / "out")


def test_the_command_answers_faults_with_an_exit_status(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["convert", "no_such", "--out", str(tmp_path)]) == 2
    assert "no converter" in caplog.text
    with pytest.raises(SystemExit):
        main(["convert", "transformers_bin", "--source", "no-equals-sign", "--out", str(tmp_path)])
