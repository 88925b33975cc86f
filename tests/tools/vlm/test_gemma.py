"""The in-process back end on MedGemma's architecture; that of Qwen3-VL is in test_inprocess."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_gemma import save_gemma
from tiny_vlm import all_roles, noise

from pathagent_tools.vlm import roles
from pathagent_tools.vlm.inprocess import TransformersVLM
from pathagent_tools.vlm.schema_check import fault


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gemma") / "tiny"
    save_gemma(folder)
    return folder


@pytest.fixture(scope="module")
def vlm(checkpoint: Path) -> TransformersVLM:
    return TransformersVLM(checkpoint, tile_px=64)


def test_every_role_is_answered_in_valid_json_with_an_image(vlm: TransformersVLM) -> None:
    for request in all_roles():
        (done,) = vlm.generate([replace(request, images=(noise(1),))])
        assert fault(done.data, request.schema) is None


def test_a_prompt_begins_once(vlm: TransformersVLM, checkpoint: Path) -> None:
    """The template writes `<bos>` and the tokenizer would add another."""
    from transformers import AutoProcessor

    request = roles.verify("Necrosis is present.", "E1 necrosis")
    messages = [
        {"role": "system", "content": [{"type": "text", "text": request.system}]},
        {"role": "user", "content": [{"type": "text", "text": request.user}]},
    ]
    wanted = AutoProcessor.from_pretrained(checkpoint).apply_chat_template(
        messages, tokenize=True, return_dict=True, add_generation_prompt=True
    )
    assert vlm.generate([request])[0].prompt_tokens == len(wanted["input_ids"][0])
