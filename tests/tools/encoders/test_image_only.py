"""Published encoders: names and facts; image-only ones from small checkpoints in the real formats."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pathagent_tools.core.errors import UserError
from pathagent_tools.encoders import catalogue as catalogue_module
from pathagent_tools.encoders.catalogue import Catalogue, canonical, catalogue
from pathagent_tools.encoders.registry import describe_encoder, encoder_names, load_encoder

SMALL_VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}
TILES = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
Save = Callable[..., Any]


@pytest.fixture
def save_timm(tmp_path: Path) -> Iterator[Save]:
    """`save_timm(architecture, **arguments)` → (model, folder as timm pushes it to the hub)."""
    import timm
    import torch
    from timm.models import save_for_hf

    def save(architecture: str, **arguments: Any) -> tuple[Any, Path]:
        torch.manual_seed(0)
        model = timm.create_model(architecture, num_classes=5, **arguments).eval()
        size = arguments.get("img_size", 32)
        folder = tmp_path / architecture
        config = {"pretrained_cfg": {**model.pretrained_cfg, "input_size": (3, size, size)}}
        classes = {k: "a class" for k, v in arguments.items() if not isinstance(v, (int, float, str))}
        save_for_hf(model, folder, model_config=config, model_args=classes, safe_serialization=True)
        written = json.loads((folder / "config.json").read_text())
        for name in classes:  # published configurations leave these to the reader
            del written["model_args"][name]
        (folder / "config.json").write_text(json.dumps(written))
        for pickled in folder.glob("*.bin"):
            pickled.unlink()
        return model, folder

    yield save


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Save:
    """`published(key, **changes)`: the entry `key` at the size of a small checkpoint."""

    def change(key: str, **changes: Any) -> None:
        whole = catalogue()
        entry = whole.encoders[key].model_copy(update={"tile_px": 32, "input_px": 32, **changes})
        small = Catalogue(norms=whole.norms, encoders={**whole.encoders, key: entry})
        for module in ("registry", "model_folder", "catalogue"):
            monkeypatch.setattr(f"pathagent_tools.encoders.{module}.catalogue", lambda: small)

    return change


def normalised(tiles: np.ndarray, norm: str) -> Any:
    import torch

    mean, std = (np.array(v, np.float32) for v in (catalogue_module.catalogue().norms[norm].mean,
                                                   catalogue_module.catalogue().norms[norm].std))  # fmt: skip
    return torch.from_numpy(((tiles / np.float32(255) - mean) / std).transpose(0, 3, 1, 2).copy())


def test_every_entry_says_what_it_is_and_whether_it_runs() -> None:
    for key, entry in catalogue().encoders.items():
        assert bool(entry.loads_with) != bool(entry.why), key
        assert entry.norm is None or entry.norm in catalogue().norms, key
        assert entry.revision is None or len(entry.revision) == 40, key
        assert (key in encoder_names()) == bool(entry.loads_with), key
    expected = {"uni_v1": (256, 0.5, 1024), "virchow2": (224, 0.5, 2560), "ctranspath": (256, 1.0, 768)}
    for key, facts in {**expected, "conch_v15": (512, 0.5, 768), "musk": (384, 0.5, 1024)}.items():
        entry = catalogue().encoders[key]
        assert (entry.tile_px, entry.mpp, entry.dim) == facts


@pytest.mark.parametrize(
    ("alias", "key"),
    [
        ("UNI", "uni_v1"), ("pathology/mahmood_uni", "uni_v1"), ("UNI2-h", "uni_v2"),
        ("H-optimus-0", "hoptimus0"), ("conch_v1_5", "conch_v15"), ("Virchow2", "virchow2"),
    ],
)  # fmt: skip
def test_other_tools_names_mean_the_same_encoder(alias: str, key: str) -> None:
    assert canonical(alias) == key and canonical(key) == key
    assert canonical("nothing") is None


def test_a_misspelt_name_gets_a_suggestion_and_an_unrunnable_one_a_way_out() -> None:
    with pytest.raises(UserError, match="Did you mean 'virchow2'"):
        load_encoder("virchov2")
    with pytest.raises(UserError, match=r"code of their own.*--encoder conch_v1 --import"):
        load_encoder("CONCH")


def test_a_timm_folder_is_an_encoder_without_words(save_timm: Save) -> None:
    import torch

    model, folder = save_timm("vit_tiny_patch16_224", **SMALL_VIT)
    encoder = load_encoder(f"local-dir:{folder}", mpp=0.5)
    assert (encoder.tile_px, encoder.tile_mpp, encoder.dim) == (32, 0.5, 48)
    spec = describe_encoder(f"local-dir:{folder}", mpp=0.5)
    assert spec is not None and not spec.text and spec.mean == (0.5, 0.5, 0.5)
    with torch.inference_mode():
        wanted = model.forward_head(model.forward_features(normalised(TILES, "half")), pre_logits=True)
    np.testing.assert_allclose(encoder.encode_tiles(TILES), wanted.numpy(), atol=1e-4)
    with pytest.raises(UserError, match="embeds images only: it has no text tower"):
        encoder.encode_texts(["tumour"])
    with pytest.raises(UserError, match=r"takes tiles of 32 px at 0\.5 µm/px"):
        encoder.encode_tiles(np.zeros((1, 64, 64, 3), np.uint8))


def test_virchow2s_class_token_and_mean_of_patches(save_timm: Save, published: Save) -> None:
    import torch
    from timm.layers import SwiGLUPacked

    layers = {"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU, "global_pool": "token"}
    model, folder = save_timm("vit_tiny_patch16_224", **SMALL_VIT, reg_tokens=4, init_values=1e-5, **layers)
    published("virchow2", dim=96)
    encoder = load_encoder("Virchow2", weights=folder)
    with torch.inference_mode():
        tokens = model.forward_features(normalised(TILES, "imagenet"))
    wanted = torch.cat([tokens[:, 0], tokens[:, 5:].mean(1)], -1).numpy()
    np.testing.assert_allclose(encoder.encode_tiles(TILES), wanted, atol=1e-4)
    assert encoder.id == "virchow2" and encoder.tile_mpp == 0.5


def test_resnet50_gives_the_mean_of_its_third_stage(save_timm: Save, published: Save) -> None:
    _, folder = save_timm("resnet10t")
    published("resnet50", dim=256)
    features = load_encoder("resnet50", weights=folder).encode_tiles(TILES)
    assert features.shape == (3, 256) and (features >= 0).all()


def test_tiles_become_what_the_network_takes(save_timm: Save, published: Save) -> None:
    _, folder = save_timm("vit_tiny_patch16_224", **SMALL_VIT)
    tiles = np.random.default_rng(1).integers(0, 255, (2, 40, 40, 3), dtype=np.uint8)
    published("kaiko-vits16", dim=48, tile_px=40, arguments={}, fit="crop")
    cropped = load_encoder("kaiko-vits16", weights=folder)
    published("kaiko-vits16", dim=48, tile_px=32, arguments={})
    whole = load_encoder("kaiko-vits16", weights=folder)
    np.testing.assert_allclose(
        cropped.encode_tiles(tiles), whole.encode_tiles(tiles[:, 4:36, 4:36]), atol=1e-4
    )
    published("kaiko-vits16", dim=48, tile_px=40, arguments={})
    assert not np.allclose(
        load_encoder("kaiko-vits16", weights=folder).encode_tiles(tiles),
        cropped.encode_tiles(tiles),
        atol=1e-2,
    )


def test_a_dinov2_in_transformers_format_gives_its_class_token(tmp_path: Path, published: Save) -> None:
    import torch
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    model = Dinov2Model(
        Dinov2Config(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8)
    ).eval()
    model.save_pretrained(tmp_path / "m")
    published("phikon_v2", dim=24)
    encoder = load_encoder("phikon-v2", weights=tmp_path / "m")
    with torch.inference_mode():
        wanted = model(pixel_values=normalised(TILES, "imagenet")).last_hidden_state[:, 0].numpy()
    np.testing.assert_allclose(encoder.encode_tiles(TILES), wanted, atol=1e-4)


def test_weights_that_do_not_fit_the_name_are_refused(save_timm: Save, published: Save) -> None:
    _, folder = save_timm("vit_tiny_patch16_224", **SMALL_VIT)
    published("kaiko-vits16", arguments={})
    with pytest.raises(UserError, match=r"gives \[48\] numbers a tile, not \[384\]: these are other weights"):
        load_encoder("kaiko-vits16", weights=folder).encode_tiles(TILES)
    published("kaiko-vits16", arguments={"depth": 3})
    with pytest.raises(UserError, match="is no timm model that can be loaded"):
        load_encoder("kaiko-vits16", weights=folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="only pickled weights"):
        load_encoder("uni_v1", weights=folder)
