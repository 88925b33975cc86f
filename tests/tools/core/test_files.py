"""A file is whole or absent."""

from pathlib import Path

import pytest

from pathagent_tools.core.card import ModelCard, hash_files
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import write_bytes_atomic, write_text_atomic
from pathagent_tools.core.registry import Registry


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_text_atomic(path, "old")
    with pytest.raises(TypeError):
        write_bytes_atomic(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_without_a_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"card\.json"):
        ModelCard.load(tmp_path)
    (tmp_path / "a.bin").write_bytes(b"x")
    assert list(hash_files(tmp_path)) == ["a.bin"]


def test_a_registry_suggests_and_refuses_duplicates() -> None:
    registry = Registry("encoder", "pathagent.test-encoders")
    registry.add("embedded", "json:loads")
    assert registry.get("embedded")("1") == 1
    with pytest.raises(ValueError, match="twice"):
        registry.add("embedded", "json:dumps")
    with pytest.raises(UserError, match="Did you mean 'embedded'"):
        registry.get("embeded")
