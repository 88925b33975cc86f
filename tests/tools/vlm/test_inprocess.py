"""The in-process back end on a tiny real Qwen3-VL with random weights."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_vlm import SIZE, all_roles, noise

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.protocols import VisionLanguageModel
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.vlm import roles
from pathagent_tools.vlm.inprocess import TransformersVLM
from pathagent_tools.vlm.profile import load_profile
from pathagent_tools.vlm.schema_check import fault


def test_every_role_is_answered_in_valid_json_even_by_random_weights(vlm: TransformersVLM) -> None:
    assert isinstance(vlm, VisionLanguageModel)
    for request in all_roles():
        (done,) = vlm.generate([request])
        assert fault(done.data, request.schema) is None
        assert done.data == json.loads(done.text)
        assert list(done.data) == list(request.schema["properties"])
        assert done.text == json.dumps(done.data, ensure_ascii=False)
        assert done.confidence is not None
        assert 0 < done.confidence < 1


def test_a_batch_gives_what_single_calls_give_and_in_order(vlm: TransformersVLM) -> None:
    requests = [
        roles.describe(noise(1), field_um=64),
        roles.verify("Necrosis is present.", "E1 necrosis"),
        roles.describe(noise(2), field_um=1000),
        roles.verify("There is a good deal of inflammation in the centre.", "E1 stroma"),
    ]
    together = vlm.generate(requests)
    alone = [vlm.generate([r])[0] for r in requests]
    assert [c.text for c in together] == [c.text for c in alone]
    assert [c.prompt_tokens for c in together] == [c.prompt_tokens for c in alone]
    assert together[0].confidence == pytest.approx(alone[0].confidence, abs=2e-4)


def test_the_image_reaches_the_answer(vlm: TransformersVLM) -> None:
    seen = [vlm.generate([roles.describe(noise(i), field_um=64)])[0].extra["slots"] for i in (1, 2)]
    assert seen[0]["tissue"] != seen[1]["tissue"]


def test_slot_probabilities_are_over_the_vocabulary_and_agree_with_the_answer(vlm: TransformersVLM) -> None:
    (done,) = vlm.generate([roles.describe(noise(5), field_um=64)])
    for slot, values in SLOTS.items():
        shares = done.extra["slots"][slot]
        assert list(shares) == list(values)
        assert sum(shares.values()) == pytest.approx(1, abs=0.02)
        assert shares[done.data[slot]] > 0


def test_an_answer_that_runs_on_is_closed_and_says_so(vlm: TransformersVLM) -> None:
    request = replace(all_roles()[4], max_tokens=12)
    (done,) = vlm.generate([request])
    assert done.extra["cut"] is True
    assert fault(done.data, request.schema) is None


def test_threads_take_turns(vlm: TransformersVLM) -> None:
    requests = [roles.describe(noise(i), field_um=64) for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda r: vlm.generate([r])[0].text, requests))
    assert found == [vlm.generate([r])[0].text for r in requests]


def test_a_prompt_beyond_the_context_is_the_users_error(vlm: TransformersVLM) -> None:
    request = roles.verify("Necrosis is present.", "E1 necrosis\n" * 1000)
    with pytest.raises(UserError, match="room for 2048"):
        vlm.generate([request])


def test_a_missing_model_names_itself(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing-here"):
        TransformersVLM(tmp_path / "nothing-here")


def write_adapter(checkpoint: Path, folder: Path, seed: int) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(seed)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(AutoModelForImageTextToText.from_pretrained(checkpoint), config).save_pretrained(folder)
    return folder


def test_a_role_uses_its_adapter_and_the_others_the_base(checkpoint: Path, tmp_path: Path) -> None:
    tuned_roles = {
        "describe": write_adapter(checkpoint, tmp_path / "d", 0),
        "navigate": write_adapter(checkpoint, tmp_path / "n", 1),
    }
    requests = [
        roles.describe(noise(1), field_um=64),
        roles.verify("Necrosis.", "E1 necrosis"),
        roles.navigate("Draft a report.", {"K1": "K1 stroma", "K2": "K2 mucin"}, 1),
    ]
    base = TransformersVLM(checkpoint, tile_px=64).generate(requests)
    tuned = TransformersVLM(checkpoint, tile_px=64, adapters=tuned_roles).generate(requests)
    assert [c.adapter for c in tuned] == ["describe", None, "navigate"]
    assert tuned[0].extra["slots"] != base[0].extra["slots"]
    assert tuned[1].confidence == base[1].confidence
    assert tuned[2].confidence != base[2].confidence
    alone = TransformersVLM(checkpoint, tile_px=64, adapters={"describe": tuned_roles["describe"]})
    assert alone.generate(requests[:1])[0].extra["slots"] == tuned[0].extra["slots"]


def test_an_adapter_of_another_base_is_refused(checkpoint: Path) -> None:
    shipped = load_profile("embedded").vlm.adapters["answer"]
    with pytest.raises(UserError, match=r"answer does not fit"):
        TransformersVLM(checkpoint, tile_px=64, adapters={"answer": shipped})


def test_roles_that_share_a_folder_share_one_adapter(checkpoint: Path, tmp_path: Path) -> None:
    shared, own = write_adapter(checkpoint, tmp_path / "s", 0), write_adapter(checkpoint, tmp_path / "o", 1)
    tuned = {"diagnose": shared, "answer": own, "judge": shared}
    by_role = {request.role: request for request in all_roles()}
    model = TransformersVLM(checkpoint, tile_px=64, adapters=tuned)
    done = model.generate([by_role["diagnose"], by_role["judge"], by_role["answer"]])
    assert [c.adapter for c in done] == ["diagnose+judge", "diagnose+judge", "answer"]
    assert sorted(model._model.peft_config) == ["answer", "diagnose+judge"]


def test_a_folder_that_is_no_adapter_is_the_users_error(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no LoRA adapter"):
        TransformersVLM(checkpoint, adapters={"describe": tmp_path})


def test_a_tile_keeps_its_size_in_the_processor(vlm: TransformersVLM) -> None:
    (done,) = vlm.generate([roles.describe(noise(1), field_um=64)])
    (same,) = vlm.generate([roles.describe(noise(1, px=64), field_um=64)])
    bigger = vlm.generate([roles.describe(noise(1, px=96), field_um=64)])[0]
    assert done.prompt_tokens == same.prompt_tokens == bigger.prompt_tokens
    text = done.prompt_tokens - SIZE.image_tokens
    assert text > 0
