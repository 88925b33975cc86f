"""A knowledge folder: which passages it gives, and what is said of one that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from pathagent.compare import knowledge
from pathagent.compare.knowledge import PASSAGE_LENGTH, pieces_of, read_knowledge
from pathagent_tools.core.errors import UserError

COLON = """---
title: not a passage
---
# Colon {#sec-colon}

Glands of one kind.

## Adenocarcinoma

- Invasion of the *submucosa*
- Desmoplasia, see [the figure](x.png)

| grade | glands |
| --- | --- |
| low | most |

```{r}
malignancy <- TRUE
```

<!-- taken back: necrosis is required -->

```{asis, echo = TRUE}
### Mucinous
Mucin is more than half.
```
"""


def test_passages_stand_under_their_headings_and_code_is_none() -> None:
    found = [(p.line, p.heading, p.text) for p in pieces_of("colon.md", COLON)]
    assert found == [
        (6, "Colon", "Glands of one kind."),
        (10, "Colon › Adenocarcinoma",
         "Invasion of the submucosa\nDesmoplasia, see the figure\ngrade\nglands\nlow\nmost"),
        (25, "Colon › Adenocarcinoma › Mucinous", "Mucin is more than half."),
    ]  # fmt: skip


def test_long_text_is_cut_between_sentences_and_plain_text_between_lines() -> None:
    long = " ".join(f"Sentence number {n} speaks of glands." for n in range(100))
    found = pieces_of("a.md", long)
    assert len(found) > 3
    assert all(len(p.text) <= PASSAGE_LENGTH and p.text.endswith(".") for p in found)
    assert " ".join(p.text for p in found) == long
    lines = [f"81{n:02}/3 Carcinoma of kind {n}" for n in range(100)]
    found = pieces_of("a.txt", "# no heading here\n\n" + "\n".join(lines))
    assert [p.heading for p in found] == [""] * len(found)
    assert found[0].text.startswith("# no heading here\n8100/3")
    assert "\n".join(p.text for p in found).splitlines()[1:] == lines
    assert found[1].line == 3 + lines.index(found[1].text.splitlines()[0])
    assert len(pieces_of("a.txt", "x" * (2 * PASSAGE_LENGTH + 1))) == 3


def test_control_and_direction_characters_are_taken_out() -> None:
    (piece,) = pieces_of("a.txt", "benign\u202e\x00 gland\u200b")
    assert piece.text == "benign gland"


def test_what_is_read_and_what_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".git").mkdir()
    for name in ("b.txt", "sub/a.qmd", "table.csv", ".git/c.md", ".hidden.md"):
        (tmp_path / name).write_text("text")
    first = read_knowledge(tmp_path)
    assert list(first.texts) == ["b.txt", "sub/a.qmd"]
    (tmp_path / "sub/a.qmd").write_text("other")
    assert read_knowledge(tmp_path).sha256 != first.sha256


def test_what_cannot_be_read_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"No such folder: .*absent"):
        read_knowledge(tmp_path / "absent")
    with pytest.raises(UserError, match="holds no text"):
        read_knowledge(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# only\n## headings\n")
    with pytest.raises(UserError, match="no text under their headings"):
        read_knowledge(tmp_path)
    page.write_bytes("Drüse".encode("latin-1"))
    with pytest.raises(UserError, match=r"page\.md is not UTF-8"):
        read_knowledge(tmp_path)
    with page.open("wb") as handle:
        handle.truncate(50_000_000)
    with pytest.raises(UserError, match=r"page\.md has 50 MB; .* at most 2 MB"):
        read_knowledge(tmp_path)
    page.write_text("a gland")
    monkeypatch.setattr(knowledge, "LARGEST_FOLDER", 6)
    with pytest.raises(UserError, match="together"):
        read_knowledge(tmp_path)
