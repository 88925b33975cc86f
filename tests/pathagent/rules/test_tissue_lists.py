"""A sentence that lists tissues is as many claims as it has items."""

from __future__ import annotations

import pytest

from pathagent.rules.tissue_lists import listed, only


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("Elsewhere there is stroma, smooth muscle and mucin.", ("stroma", "smooth muscle", "mucin")),
        ("Necrosis, necrosis, and invasive tumour.", ("necrosis", "invasive tumour")),
        ("The tumour grows in mucin pools and the stroma is dense.", ()),
        ("Necrosis is not seen.", ()),
        ("No necrosis and mucin are seen.", ()),
        ("Necrosis and mucin are absent.", ()),
        ("Other fields show stroma and stroma.", ()),
    ],
)
def test_a_list_is_found_where_items_follow_each_other(text: str, items: tuple[str, ...]) -> None:
    assert listed(text) == items


def test_what_is_not_kept_leaves_the_sentence_whole() -> None:
    text = "Other fields show stroma, necrosis and mucin (E1)."
    assert only(text, {"mucin", "stroma"}) == "Other fields show stroma and mucin (E1)."
    assert only(text, {"necrosis"}) == "Other fields show necrosis (E1)."
