"""A knowledge folder of the user's: Markdown and plain text as passages under their headings.

Its text is data. Nothing in it is executed, followed or put before a model; control and direction
characters are taken out when it is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pathagent.rules.legality import quote
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import canonical_json, sha256_bytes

if TYPE_CHECKING:
    from markdown_it.token import Token

SUFFIXES: Final = (".md", ".markdown", ".qmd", ".txt")
LARGEST_FILE: Final = 2_000_000
"""Bytes of one file: a textbook chapter has a tenth of it."""
LARGEST_FOLDER: Final = 20_000_000
PASSAGE_LENGTH: Final = 900
"""Characters that a passage holds at most."""
_FRONT_MATTER: Final = re.compile(r"\A---\n.*?\n---[ \t]*$", re.DOTALL | re.MULTILINE)
_ANCHOR: Final = re.compile(r"\s*\{[#.][^}]*\}$")
"""`{#sec-colon .unnumbered}` after a heading, as Pandoc and Quarto write it."""
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+")
_MARKDOWN_INSIDE: Final = "{asis"
"""Fences whose content Quarto prints as Markdown; any other fence is code."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A passage before anybody searched. line: of the file, from 1. heading: outermost first."""

    file: str
    line: int
    heading: str
    text: str

    @property
    def words(self) -> str:
        """All that a search may find it by."""
        return f"{Path(self.file).stem} {self.heading} {self.text}"


@dataclass(frozen=True)
class Knowledge:
    """The texts of a folder: path inside it → text."""

    folder: Path
    texts: dict[str, str]

    @property
    def sha256(self) -> str:
        """Digest of names and texts: part of a run's identity."""
        return sha256_bytes(canonical_json(self.texts).encode())

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """Every passage, in the order of files and lines."""
        return tuple(piece for file, text in self.texts.items() for piece in pieces_of(file, text))


def read_knowledge(folder: str | Path) -> Knowledge:
    """Read a folder, its folders too; hidden files and other kinds of files are passed over.

    UserError: no such folder, no text in it, text that is too large or not UTF-8.
    """
    folder = Path(folder).expanduser()
    wanted = f"--knowledge wants a folder of text files ({', '.join(SUFFIXES)})."
    if not folder.is_dir():
        raise UserError(f"No such folder: {folder}. {wanted}")
    paths = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in SUFFIXES and p.is_file()]
    inside = {p.relative_to(folder): p for p in paths}
    inside = {name: p for name, p in inside.items() if not any(part.startswith(".") for part in name.parts)}
    if not inside:
        raise UserError(f"{folder} holds no text. {wanted}")
    _small_enough(folder, inside.values())
    found = Knowledge(folder, {name.as_posix(): _text(path) for name, path in inside.items()})
    if not found.pieces:
        raise UserError(f"The files of {folder} hold no text under their headings. {wanted}")
    return found


def _small_enough(folder: Path, paths: Iterable[Path]) -> None:
    total = 0
    for path in paths:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise UserError(
                f"{path} has {size / 1e6:.3g} MB; a text of at most {LARGEST_FILE / 1e6:g} MB is read. "
                "Take it out of the folder or give the part that matters."
            )
        total += size
    if total > LARGEST_FOLDER:
        raise UserError(
            f"The texts of {folder} have {total / 1e6:.3g} MB together; at most {LARGEST_FOLDER / 1e6:g} MB "
            "are read. Give a smaller folder."
        )


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text. Save it as UTF-8 or take it out of the folder.") from None
    except OSError as error:
        raise UserError(
            f"Cannot read {path}: {error.strerror}. Mend that or take it out of the folder."
        ) from error


@dataclass
class _Reader:
    """Packs lines of text under one heading into passages."""

    file: str
    found: list[Piece] = field(default_factory=list)
    headings: dict[int, str] = field(default_factory=dict)
    _lines: list[str] = field(default_factory=list)
    _line: int = 1

    @property
    def length(self) -> int:
        """Characters that wait to be a passage, line ends among them."""
        return sum(len(line) + 1 for line in self._lines)

    def head(self, level: int, text: str) -> None:
        self.close()
        self.headings = {k: v for k, v in self.headings.items() if k < level} | {
            level: _ANCHOR.sub("", quote(text))
        }

    def add(self, text: str, line: int) -> None:
        for part in _parts(quote(text, limit=LARGEST_FILE)):
            if self._lines and self.length + len(part) > PASSAGE_LENGTH:
                self.close()
            if not self._lines:
                self._line = line
            self._lines.append(part)

    def close(self) -> None:
        if self._lines:
            heading = " › ".join(self.headings[level] for level in sorted(self.headings))
            self.found.append(Piece(self.file, self._line, heading, "\n".join(self._lines)))
        self._lines = []


def pieces_of(file: str, text: str) -> list[Piece]:
    """The passages of one text. Markdown by its blocks, without code and HTML; other text by empty lines."""
    reader = _Reader(file)
    if file.lower().endswith(".txt"):
        _read_plain(reader, text)
    else:
        _read_markdown(reader, _FRONT_MATTER.sub(lambda found: "\n" * found[0].count("\n"), text), 0)
    reader.close()
    return reader.found


def _read_plain(reader: _Reader, text: str) -> None:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            reader.add(line, number)
        elif reader.length >= PASSAGE_LENGTH / 3:
            reader.close()


def _read_markdown(reader: _Reader, text: str, above: int) -> None:
    """above: lines of the file before this text."""
    from markdown_it import MarkdownIt

    level, line = 0, above + 1
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        line = above + 1 + token.map[0] if token.map else line
        if token.type == "heading_open":
            level = int(token.tag[1:])
        elif token.type == "heading_close":
            level = 0
        elif token.type == "inline" and level:
            reader.head(level, _plain(token))
        elif token.type == "inline":
            reader.add(_plain(token), line)
        elif token.type == "fence" and token.info.strip().startswith(_MARKDOWN_INSIDE):
            _read_markdown(reader, token.content, line)


def _plain(token: Token) -> str:
    """The words of a line of Markdown, without its marks; an image gives its description."""
    breaks = {"softbreak": " ", "hardbreak": " ", "html_inline": ""}
    return "".join(breaks.get(child.type, child.content) for child in token.children or ())


def _parts(text: str) -> Iterator[str]:
    """The text in pieces of at most `PASSAGE_LENGTH` characters, cut between sentences where that can be."""
    part = ""
    for sentence in _SENTENCE_END.split(text):
        if part and len(part) + 1 + len(sentence) > PASSAGE_LENGTH:
            yield part
            part = ""
        part = f"{part} {sentence}".strip()
        while len(part) > PASSAGE_LENGTH:
            yield part[:PASSAGE_LENGTH]
            part = part[PASSAGE_LENGTH:]
    if part:
        yield part
