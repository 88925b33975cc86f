"""Loading encoders by name: real open_clip loading, offline, and what happens when something is off."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.protocols import SlideEncoder
from pathagent_tools.encoders import registry
from pathagent_tools.encoders.registry import load_encoder

TILE_PX = 64
NewCheckpoint = Callable[..., Path]


def test_a_local_folder_loads_as_a_slide_encoder(checkpoint: Path) -> None:
    encoder = load_encoder(f"local-dir:{checkpoint}")
    assert isinstance(encoder, SlideEncoder)
    assert (encoder.id, encoder.tile_px, encoder.tile_mpp, encoder.dim) == ("tiny", TILE_PX, 1.0, 32)
    tiles = np.random.default_rng(0).integers(0, 255, (3, TILE_PX, TILE_PX, 3), dtype=np.uint8)
    features = encoder.encode_tiles(tiles)
    assert features.shape == (3, 32) and features.dtype == np.float32
    assert encoder.encode_texts(["fat", "a field of solid nests"]).shape == (2, 32)


def test_weights_of_the_file_are_used_not_random_ones(
    checkpoint: Path, tmp_path: Path, new_checkpoint: NewCheckpoint
) -> None:
    tiles = np.random.default_rng(0).integers(0, 255, (2, TILE_PX, TILE_PX, 3), dtype=np.uint8)
    first, again = (load_encoder(f"local-dir:{checkpoint}").encode_tiles(tiles) for _ in range(2))
    other = load_encoder(f"local-dir:{new_checkpoint(tmp_path / 'other', seed=1)}").encode_tiles(tiles)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other, atol=1e-3)


def test_a_tile_of_the_wrong_size_names_the_right_pair(checkpoint: Path) -> None:
    encoder = load_encoder(f"local-dir:{checkpoint}")
    with pytest.raises(
        UserError, match=r"64 px at 1 µm/px.*given 256 × 256 px.*TileSpec\(tile_px=64, mpp=1\)"
    ):
        encoder.encode_tiles(np.zeros((1, 256, 256, 3), np.uint8))


def test_an_unknown_name_gets_a_suggestion(checkpoint: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'embedded'"):
        load_encoder("embeded")
    with pytest.raises(UserError, match="Did you mean 'local-dir:"):
        load_encoder(str(checkpoint))
    with pytest.raises(UserError, match="Did you mean 'hf-hub:org/model'"):
        load_encoder("org/model")


def test_missing_embedded_weights_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "EMBEDDED_FOLDER", tmp_path)
    with pytest.raises(UserError, match="pathagent finetune encoder"):
        load_encoder("embedded")


def test_a_folder_without_weights_never_loads_random_ones(checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "bare")
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no open_clip_model\.safetensors"):
        load_encoder(f"local-dir:{folder}")
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UserError, match="only pickled weights"):
        load_encoder(f"local-dir:{folder}")


def test_changed_weights_do_not_pass_for_the_card(checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "changed")
    path = folder / "open_clip_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(UserError, match=r"not the file that card\.json describes"):
        load_encoder(f"local-dir:{folder}")


def test_without_a_card_the_resolution_must_be_given(tmp_path: Path, new_checkpoint: NewCheckpoint) -> None:
    folder = new_checkpoint(tmp_path / "plain", mpp=None)
    with pytest.raises(UserError, match=r"mpp=0\.5"):
        load_encoder(f"local-dir:{folder}")
    assert load_encoder(f"local-dir:{folder}", mpp=0.25).tile_mpp == 0.25


def test_the_revision_changes_with_the_weights(
    checkpoint: Path, tmp_path: Path, new_checkpoint: NewCheckpoint
) -> None:
    other = new_checkpoint(tmp_path / "other", seed=1)
    assert load_encoder(f"local-dir:{checkpoint}").revision != load_encoder(f"local-dir:{other}").revision


def test_a_hub_name_opens_the_downloaded_revision(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def download(repo: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.update(repo=repo, revision=revision, patterns=allow_patterns)
        return str(checkpoint)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    encoder = load_encoder("hf-hub:org/model@abc123")
    assert (asked["repo"], asked["revision"]) == ("org/model", "abc123")
    assert not any(fnmatch("pytorch_model.bin", str(p)) for p in list(asked["patterns"]))  # type: ignore[call-overload]
    assert encoder.dim == 32


def test_a_hub_name_without_network_says_so() -> None:
    with pytest.raises(UserError, match="hf-hub:org/not-there could not be fetched"):
        load_encoder("hf-hub:org/not-there", mpp=0.5)
