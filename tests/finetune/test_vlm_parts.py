"""The parts of the VLM's training agree with the stock model that they train."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from transformers import AutoModelForImageTextToText, AutoProcessor

from pathagent_finetune.architecture import VLMSize, build_model, save_checkpoint
from pathagent_finetune.corpus import examples, simulate
from pathagent_finetune.corpus.example import Example
from pathagent_finetune.tokenizer import train_tokenizer
from pathagent_finetune.vision_batch import augment, encode, to_patches, turn
from pathagent_finetune.vision_pretrain import LABELS, cell_shares
from pathagent_finetune.vision_tokens import look, tokens
from pathagent_finetune.vlm_batch import (
    GLUE_WEIGHT,
    ID_WEIGHT,
    Encoder,
    collate,
    forward,
    leaf_texts,
    prompt_text,
)
from pathagent_finetune.vlm_eval import sentence_accuracy
from pathagent_tools.core.vocabulary import SLOTS

SIZE = VLMSize(
    tile_px=64, vision_depth=2, vision_hidden=32, vision_heads=1, vision_mlp=64, deepstack=(0,),
    hidden=64, layers=2, heads=2, kv_heads=1, head_dim=32, mlp=96, vocab=900,
)  # fmt: skip


def drawn() -> list[Example]:
    rng = Random(0)
    looks = [simulate.random_findings(rng) for _ in range(3)]
    cases = [simulate.draw_case(i) for i in range(3)]
    return [
        *(examples.describe_example(f, i, rng) for i, f in enumerate(looks)),
        *(examples.write_example(c, rng) for c in cases),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = drawn()
    texts = [t for e in found for t in (e.request.system, e.request.user, *leaf_texts(e.target))]
    tokenizer = train_tokenizer(texts, [e.target for e in found] * 10, vocab=SIZE.vocab)
    where = tmp_path_factory.mktemp("vlm")
    save_checkpoint(where, build_model(SIZE, tokenizer, seed=1), tokenizer, SIZE, dtype=torch.float32)
    return where


def images(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (n, 64, 64, 3), dtype=np.uint8)


def test_the_batched_visual_forward_is_the_stock_one(folder: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    shown = images(3)
    inputs = processor.image_processor(images=[Picture.fromarray(x) for x in shown], return_tensors="pt")
    with torch.no_grad():
        stock = model.model.visual(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"])
        merged, deep = encode(model.model.visual, to_patches(shown))
    assert torch.allclose(merged.flatten(0, 1), stock.pooler_output, atol=1e-4)
    assert torch.allclose(deep[0].flatten(0, 1), stock.deepstack_features[0], atol=1e-4)


def test_training_sees_the_prompt_and_the_logits_of_the_checkpoint(folder: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    example, picture = drawn()[0], images(1)[0]
    messages = [
        {"role": "system", "content": [{"type": "text", "text": example.request.system}]},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": example.request.user}]},
    ]
    chat = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    inputs = processor(text=[chat + example.target_text], images=[[picture]], return_tensors="pt")
    encoder = Encoder(processor.tokenizer, SIZE.image_tokens, {})
    batch = collate([example], encoder)
    assert batch.ids[0, :-1].tolist() == inputs["input_ids"][0].tolist()
    assert prompt_text(example, 1) == chat
    with torch.no_grad():
        stock = model(**inputs).logits[0]
        logits, wanted = forward(model, batch, look(model.model.visual, picture[None]))
    assert torch.allclose(logits, stock[-len(wanted) :], atol=1e-3)


def test_padding_changes_no_logit(folder: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(folder)
    encoder = Encoder(AutoProcessor.from_pretrained(folder).tokenizer, SIZE.image_tokens, {})
    texts = [e for e in drawn() if e.tile is None]
    with torch.no_grad():
        together = forward(model, collate(texts, encoder), None)[0]
        alone = torch.cat([forward(model, collate([e], encoder), None)[0] for e in texts])
    assert torch.allclose(together, alone, atol=1e-4)


def test_only_the_answer_counts_and_slot_values_count_most(folder: Path) -> None:
    tokenizer = AutoProcessor.from_pretrained(folder).tokenizer
    example = drawn()[0]
    tissue = example.target["tissue"]
    encoder = Encoder(tokenizer, SIZE.image_tokens, {("tissue", tissue): 3.0})
    batch = collate([example], encoder)
    weighed = batch.weights[0]
    answer = tokenizer.decode(batch.ids[0][weighed > 0])
    assert answer == example.target_text + "<|im_end|>"
    heavy = tokenizer.decode(batch.ids[0][weighed == 6.0])
    assert heavy == tissue
    glue = torch.isclose(weighed, torch.tensor(GLUE_WEIGHT))
    assert tokenizer.decode(batch.ids[0][glue]).startswith('{"tissue": "')


def test_cited_ids_weigh_more_than_words(folder: Path) -> None:
    tokenizer = AutoProcessor.from_pretrained(folder).tokenizer
    example = next(e for e in drawn() if e.request.role == "write")
    batch = collate([example], Encoder(tokenizer, SIZE.image_tokens, {}))
    heavy = tokenizer.decode(batch.ids[0][batch.weights[0] == ID_WEIGHT])
    cited = [i for s in example.target["sentences"] for i in s["cites"]]
    assert cited
    assert re.findall(r"[0-9]+", heavy) == [i[1:] for i in cited]


def test_tokens_are_looked_at_once_and_are_those_of_the_tower(folder: Path, tmp_path: Path) -> None:
    class Store:
        def __len__(self) -> int:
            return 3

        def image(self, index: int) -> np.ndarray:
            return images(3)[index]

    visual = AutoModelForImageTextToText.from_pretrained(folder).model.visual
    path = tmp_path / "seen.npy"
    kept = tokens(visual, Store(), path, views=2, seed=0, colour=0.0)  # type: ignore[arg-type]
    assert kept.shape == (2, 3, 2, 4, 64)
    turned, _ = augment(images(3), np.random.default_rng([0, 5, 1, 0]), colour=0.0)
    assert np.allclose(kept[1], look(visual, turned).numpy(), atol=1e-2)
    assert not np.allclose(kept[0], kept[1], atol=1e-2)
    again = tokens(None, Store(), path, views=2, seed=0, colour=0.0)  # type: ignore[arg-type]
    assert np.array_equal(again, kept)


def test_cell_shares_follow_the_image_tokens() -> None:
    labels = np.zeros((1, 64, 64), np.uint8)
    labels[0, 16:32, 32:48] = 5  # lower left patch of the second token
    shares = cell_shares(labels)
    assert shares.shape == (1, 4, 4, LABELS)
    assert shares[0, 1, 2, 5] == 1
    assert shares[0, :, :, 0].sum() == 15
    pixels = np.zeros((1, 64, 64, 3), np.uint8)
    pixels[0, 16:32, 32:48] = 255
    patches = to_patches(pixels)
    assert int(patches[0].sum(dim=-1).argmax()) == 4 * 1 + 2


def test_image_and_labels_are_turned_together() -> None:
    pixels = images(8)
    out, turns = augment(pixels, np.random.default_rng(1), colour=0.0)
    assert len(set(turns)) > 2
    for before, after, t in zip(pixels, out, turns, strict=True):
        assert np.array_equal(turn(before, *t), after)
    recoloured, _ = augment(pixels, np.random.default_rng(1), colour=0.05)
    assert 0 < np.abs(recoloured.astype(int) - out).mean() < 12


def test_slots_of_the_heads_are_those_of_the_vocabulary() -> None:
    from pathagent_finetune.vision_pretrain import build_heads, read_heads

    out = read_heads(build_heads(64), torch.zeros(2, 4, 64), [torch.zeros(2, 4, 64)])
    assert {k: v.shape[-1] for k, v in out.items() if k in SLOTS} == {k: len(v) for k, v in SLOTS.items()}
    assert out["cells"].shape == (2, 4, 4, LABELS)


def test_a_sentence_is_scored_by_the_facts_that_it_states() -> None:
    truth = {"architecture": "solid nests", "nuclear_grade": "high", "mitoses": "many", "necrosis": "absent"}
    said = {**truth, "sentence": "Solid nests of tumour with low nuclear grade. Many mitoses. No necrosis."}
    assert sentence_accuracy([truth], [said]) == {"facts": 4, "right": 0.75, "slots_right": 1.0}
    silent = {**truth, "sentence": ""}
    assert sentence_accuracy([truth], [silent])["right"] == 0
