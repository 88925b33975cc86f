"""Sentences of a draft: the model's, with what it says twice in a row said once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pathagent.agents.writing import sentences_of


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Other fields show stroma, stroma and stroma.", "Other fields show stroma."),
        ("Elsewhere: necrosis, necrosis and smooth muscle.", "Elsewhere: necrosis and smooth muscle."),
        ("Other fields show stroma, adipose and mucin.", "Other fields show stroma, adipose and mucin."),
        ("Nuclei are of low grade, and mitoses and necrosis are absent.",) * 2,
    ],
)  # fmt: skip
def test_a_list_names_nothing_twice_in_a_row(written: str, said: str) -> None:
    call = SimpleNamespace(data={"sentences": [{"text": written, "cites": ["E1"]}]})
    assert sentences_of(call) == [(said, ("E1",))]  # type: ignore[arg-type]
