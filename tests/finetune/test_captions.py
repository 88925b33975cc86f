"""Captions: true of their tile, false of others, and varied; held-out wordings stay unseen."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest

from pathagent_finetune import captions as words
from pathagent_finetune.word_pieces import BOS, EOS, build_tokenizer
from pathagent_tools.core.records import Findings
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.encoders.reading import class_keys

SOLID: dict[str, Any] = {
    "tissue": "invasive tumour", "architecture": "solid nests", "nuclear_grade": "high", "mitoses": "many",
    "necrosis": "present", "inflammation": "none", "artifact": "none", "stain": "dark",
}  # fmt: skip
FAT: dict[str, Any] = {
    "tissue": "adipose", "architecture": "none", "nuclear_grade": "none", "mitoses": "none",
    "necrosis": "absent", "inflammation": "none", "artifact": "none", "stain": "dark",
}  # fmt: skip


def tile(base: dict[str, Any], **changes: Any) -> tuple[Findings, dict[str, float]]:
    findings = Findings(**(base | changes))
    return findings, {findings.tissue: 0.9, "stroma": 0.1}


def test_every_caption_is_true_of_its_own_tile() -> None:
    rng = Random(0)
    for base in (SOLID, FAT, SOLID | {"architecture": "single files", "artifact": "fold"}):
        findings, shares = tile(base)
        facts = words.facts_of([findings], [shares])
        true, unknown = words.fits(facts, [words.caption(findings, shares, rng) for _ in range(200)])
        assert (true | unknown).all()


def test_a_caption_fits_other_tiles_only_where_all_it_says_holds() -> None:
    fat, same, other_stain, solid = (tile(b) for b in (FAT, FAT, FAT | {"stain": "pale"}, SOLID))
    facts = words.facts_of(*(list(x) for x in zip(fat, same, other_stain, solid, strict=True)))
    says_fat = words.Caption("fat", words.mask_of({"tissue": ["adipose"]}), np.zeros(10, np.int8))
    says_dark = words.Caption(
        "dark fat", words.mask_of({"tissue": ["adipose"], "stain": ["dark"]}), np.zeros(10, np.int8)
    )
    true, _ = words.fits(facts, [says_fat, says_dark])
    assert true.T.tolist() == [[True, True, True, False], [True, True, False, False]]


def test_a_neighbour_of_doubtful_size_is_neither_true_nor_false() -> None:
    findings = Findings(**SOLID)
    beside = np.zeros(10, np.int8)
    beside[words.MIXED.index("stroma")] = 1
    said = words.Caption("tumour with stroma", words.mask_of({"tissue": ["invasive tumour"]}), beside)
    for share, expected in ((0.3, (True, False)), (0.06, (False, True)), (0.0, (False, False))):
        true, unknown = words.fits(words.facts_of([findings], [{"stroma": share}]), [said])
        assert (bool(true[0, 0]), bool(unknown[0, 0])) == expected


def test_every_tile_class_of_the_encoder_is_a_look_with_wordings() -> None:
    looks = words.wordings()["looks"]
    for key in class_keys():
        assert looks[key]["train"] and len(looks[key]["held_out"]) >= 3
    assert words.look_of(Findings(**SOLID)) == "solid tumour nests"
    assert words.look_of(Findings(**FAT)) == "adipose"


def test_wordings_vary_and_leave_no_brackets() -> None:
    texts = words.all_texts(3000)
    assert len(set(texts)) > 2700
    assert not [t for t in texts if any(c in t for c in "(){}|")]


def test_held_out_wordings_never_come_out_of_the_training_patterns() -> None:
    rng, table = Random(1), words.wordings()
    pools = list(table["looks"].values()) + [v for s in table["details"].values() for v in s.values()]
    for pool in pools:
        made = {words.expand(rng.choice(pool["train"]), rng).lower() for _ in range(800)}
        assert not made & {t.lower() for t in pool["held_out"]}


@pytest.mark.parametrize("slot", [s for s in SLOTS if s not in ("tissue", "architecture")])
def test_details_name_only_known_values(slot: str) -> None:
    assert set(words.wordings()["details"][slot]) <= set(SLOTS[slot])


def test_the_same_texts_give_the_same_vocabulary_and_no_word_is_lost() -> None:
    texts = words.all_texts(400)
    one, two = (build_tokenizer(texts, 300) for _ in range(2))
    assert one.get_vocab() == two.get_vocab() and len(one) <= 300
    ids = one("Zygöte-like quartz!").input_ids
    assert ids[0] == BOS and ids[-1] == EOS and one.unk_token_id not in ids
    assert one.decode(ids, skip_special_tokens=True).split() == ["zygote", "like", "quartz", "!"]


def test_a_disturbed_caption_denies_what_it_denied_and_adds_only_idle_words() -> None:
    plain = "solid nests of tumour cells with marked inflammation"
    seen = {words.disturbed(plain, Random(i)) for i in range(60)}
    assert plain in seen and len(seen) > 10
    idle = {w for filler in words.FILLERS for w in filler.split()}
    for text in seen:
        assert set(text.split()) <= set(plain.split()) | idle
        kept = [w for w in text.split() if w in plain.split() and w not in idle]
        places = [plain.split().index(w) for w in kept]
        assert places == sorted(places)
    for text in ("stroma without tumour", "Few mitoses.", "a tissue-free area", "fat only"):
        assert {words.disturbed(text, Random(i)) for i in range(60)} == {text}
