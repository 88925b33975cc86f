"""A tiny real open_clip checkpoint with random weights, and a tiny real slide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

TILE_PX = 64


def make_checkpoint(folder: Path, *, mpp: float | None = 1.0, seed: int = 0) -> Path:
    """A folder that open_clip loads as `local-dir:`; with a model card where `mpp` is given."""
    import torch

    from pathagent_finetune import encoder_model as em
    from pathagent_finetune.word_pieces import build_tokenizer
    from pathagent_tools.core.card import ModelCard, hash_files

    shape = em.ModelShape(
        vision="mobilenetv4_conv_small_035",
        dim=32,
        text_width=32,
        text_layers=1,
        text_heads=2,
        vocabulary=200,
    )
    tokenizer = build_tokenizer(["solid nests of tumour cells", "fat", "normal glands"] * 3, 200)
    config = em.open_clip_config(
        shape, tile_px=TILE_PX, vocabulary=len(tokenizer), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = em.new_model(config)
    em.write_config(folder, config, tokenizer)
    em.save_weights(model, folder)
    if mpp is not None:
        ModelCard(
            id="tiny", version="1", kind="encoder", files=hash_files(folder), trained_on={},
            licence_weights="Apache-2.0", licence_data="none", tile_px=TILE_PX, tile_mpp=mpp,
            scores={}, reproduce="pytest", not_for="anything",
        ).save(folder)  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tiny checkpoint. Copy it before changing it."""
    return make_checkpoint(tmp_path_factory.mktemp("tiny-encoder"))


@pytest.fixture(scope="session")
def new_checkpoint() -> Callable[..., Path]:
    """`new_checkpoint(folder, mpp=1.0, seed=0)` writes another tiny checkpoint."""
    return make_checkpoint


@pytest.fixture
def make_slide(tmp_path: Path) -> Callable[..., Path]:
    """`make_slide(tissue=…, seed=…)`: 768 × 512 px at 0.5 µm/px, pink noise in `tissue` (x, y, w, h)."""

    def make(
        *, tissue: tuple[int, int, int, int] | None = (128, 0, 512, 512), seed: int = 0, name: str = "a.tiff"
    ) -> Path:
        import tifffile

        pixels = np.full((512, 768, 3), 244, np.uint8)
        if tissue is not None:
            x, y, w, h = tissue
            noise = np.random.default_rng(seed).integers(-25, 25, (h, w, 1))
            pixels[y : y + h, x : x + w] = np.clip(np.array([200, 120, 170]) + noise, 0, 255)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(
            path, pixels, tile=(256, 256), photometric="rgb", compression="zlib", metadata=None,
            resolution=(2e4, 2e4), resolutionunit="CENTIMETER",
        )  # fmt: skip
        return path

    return make
