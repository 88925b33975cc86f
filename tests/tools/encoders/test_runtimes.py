"""Faster runtimes give the embeddings of the eager model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pathagent_tools.core.errors import UserError
from pathagent_tools.encoders.registry import EMBEDDED_FOLDER, load_encoder
from pathagent_tools.encoders.runtimes import fold_batch_norms


def tiles(px: int) -> np.ndarray:
    return np.random.default_rng(0).integers(60, 255, (5, px, px, 3), dtype=np.uint8)


@pytest.mark.parametrize("runtime", ["folded", "openvino", "auto"])
def test_embeddings_agree_with_the_eager_ones(runtime: str) -> None:
    name = f"local-dir:{EMBEDDED_FOLDER}"
    eager, fast = load_encoder(name), load_encoder(name, runtime=runtime)  # type: ignore[arg-type]
    a, b = eager.encode_tiles(tiles(128)), fast.encode_tiles(tiles(128))
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosines.min() > 1 - 1e-5
    np.testing.assert_allclose(a, b, atol=2e-3 * np.abs(a).max())
    assert fast.encode_tiles(tiles(128)[:1]).shape == (1, eager.dim)


def test_folding_leaves_the_model_as_it_was_and_no_batch_norm(checkpoint: Path) -> None:
    from torch import nn

    encoder = load_encoder(f"local-dir:{checkpoint}")
    model = encoder.model  # type: ignore[attr-defined]
    before = encoder.encode_tiles(tiles(64))
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in model.visual.modules())
    folded = fold_batch_norms(model)
    assert norms > 0 and not any(isinstance(m, nn.BatchNorm2d) for m in folded.visual.modules())
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.visual.modules()) == norms
    np.testing.assert_array_equal(encoder.encode_tiles(tiles(64)), before)


def test_an_unknown_runtime_is_refused(checkpoint: Path) -> None:
    with pytest.raises(UserError, match="Known: auto, eager, folded, openvino"):
        load_encoder(f"local-dir:{checkpoint}", runtime="tensorrt")  # type: ignore[arg-type]
