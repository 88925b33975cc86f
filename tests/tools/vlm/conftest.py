"""A tiny random checkpoint of the embedded VLM's architecture, in the format of the hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_vlm import SIZE, all_roles

from pathagent_finetune.architecture import build_model, save_checkpoint
from pathagent_finetune.tokenizer import train_tokenizer
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.vlm.inprocess import TransformersVLM


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vlm") / "tiny"
    words = [value for values in SLOTS.values() for value in values]
    texts = [t for r in all_roles() for t in (r.system, r.user)] * 3 + words * 3
    targets = [
        {**{slot: values[0] for slot, values in SLOTS.items()}, "sentence": "x"},
        {"verdict": "supported"},
    ]
    tokenizer = train_tokenizer(texts, targets * 20, vocab=SIZE.vocab)
    save_checkpoint(folder, build_model(SIZE, tokenizer, seed=3), tokenizer, SIZE)
    return folder


@pytest.fixture(scope="session")
def vlm(checkpoint: Path) -> Iterator[TransformersVLM]:
    yield TransformersVLM(checkpoint, tile_px=64)
