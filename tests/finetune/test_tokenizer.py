"""The small tokenizer: exact, short where it matters, and the same after saving."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from pathagent_finetune.tokenizer import json_glue, train_tokenizer
from pathagent_tools.core.errors import UserError

TARGET = {"tissue": "mucin", "cites": ["E1", "E12"], "percent": 85, "sure": True}
TEXTS = ["E1 S1 centre: mucin, mitoses many (85 %)"] * 10 + ["stroma mucin invasive tumour"] * 10
TOKENIZER = train_tokenizer(TEXTS, [TARGET] * 30, vocab=700)


def pieces(text: str) -> list[str]:
    return [TOKENIZER.decode([i]) for i in TOKENIZER(text)["input_ids"]]


def test_fixed_text_ids_and_digits_are_single_tokens() -> None:
    assert json_glue({"a": "x", "b": ["y", "z"], "n": 3}) == [
        '{"a": "',
        '", "b": ["',
        '", "',
        '"], "n": ',
        "}",
    ]
    text = json.dumps(TARGET)
    found = pieces(text)
    assert "".join(found) == text
    single = ('{"tissue": "', '", "cites": ["', "E1", '", "', "E12", '"], "percent": ', "8", "5")
    assert [piece for piece in found if piece in single] == list(single)
    assert "true" in "".join(pieces(text))


def test_an_id_inside_a_word_is_not_an_id() -> None:
    assert "E1" not in pieces("HE1 E123")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_comes_back(text: str) -> None:
    import unicodedata

    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids) == unicodedata.normalize("NFC", text)


def test_a_saved_tokenizer_is_the_same(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for text in (json.dumps(TARGET), *TEXTS, "<|im_start|>user\nÄ<|im_end|>"):
        assert again(text)["input_ids"] == TOKENIZER(text)["input_ids"]


def test_a_vocabulary_without_room_is_refused() -> None:
    with pytest.raises(UserError, match="vocab 300 is too small"):
        train_tokenizer(TEXTS, [TARGET], vocab=300)
