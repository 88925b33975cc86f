"""Faster runtimes give the embeddings of the eager model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pathagent_tools.core.errors import UserError
from pathagent_tools.encoders import runtimes
from pathagent_tools.encoders.registry import EMBEDDED_FOLDER, load_encoder
from pathagent_tools.encoders.runtimes import fold_batch_norms


def tiles(px: int) -> np.ndarray:
    return np.random.default_rng(0).integers(60, 255, (5, px, px, 3), dtype=np.uint8)


NAME = f"local-dir:{EMBEDDED_FOLDER}"


@pytest.mark.parametrize(("runtime", "apart"), [("folded", 1e-5), ("openvino", 1e-5), ("auto", 1e-3)])
def test_embeddings_agree_with_the_eager_ones(runtime: str, apart: float) -> None:
    eager, fast = load_encoder(NAME, runtime="eager"), load_encoder(NAME, runtime=runtime)  # type: ignore[arg-type]
    a, b = eager.encode_tiles(tiles(128)), fast.encode_tiles(tiles(128))
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosines.min() > 1 - apart
    assert fast.encode_tiles(tiles(128)[:1]).shape == (1, eager.dim)


@pytest.mark.parametrize("has", [True, False])
def test_auto_computes_in_bfloat16_only_where_the_processor_does(
    has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def openvino(model: object, input_px: int, runtime: str) -> object:
        taken.append(runtime)
        return runtimes._eager(model)

    monkeypatch.setattr(runtimes, "_computes_bf16", lambda: has)
    monkeypatch.setattr(runtimes, "_openvino", openvino)
    load_encoder(NAME, runtime="auto")
    assert taken == ["openvino-bf16" if has else "openvino"]


def test_bfloat16_on_a_processor_without_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "_computes_bf16", lambda: False)
    with pytest.raises(UserError, match="--runtime openvino"):
        load_encoder(NAME, runtime="openvino-bf16")


def test_auto_takes_the_next_one_where_a_runtime_does_not_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(model: object, input_px: int, runtime: str) -> object:
        return lambda x: -runtimes._eager(model)(x)

    monkeypatch.setattr(runtimes, "_openvino", wrong)
    np.testing.assert_allclose(
        load_encoder(NAME, runtime="auto").encode_tiles(tiles(128)),
        load_encoder(NAME, runtime="folded").encode_tiles(tiles(128)),
    )
    with pytest.raises(UserError, match="other embeddings"):
        load_encoder(NAME, runtime="openvino")


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
