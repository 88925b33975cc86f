"""One item of a benchmark, and what a system said of it: two JSONL files that any system can write."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import canonical_json, sha256_bytes, write_text_atomic
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.references import table_rows

Box = tuple[float, float, float, float]
"""(x, y, width, height) in level-0 px."""


class Item(Frozen):
    """What is asked, and the right answer.

    cluster: the patient (or slide) that the item is of. reference: the right text, label or answer, or the
    path of a mask. truth: what a kind needs beyond a text (outlines of lesions, the seed of a phantom).
    """

    id: str
    cluster: str
    reference: str = ""
    question: str = ""
    options: tuple[str, ...] = ()
    topic: str = ""
    groups: dict[str, str] = Field(default={}, description="e.g. scanner, stain, family: tables by group")
    truth: dict[str, Any] = Field(default={})


class ClaimSaid(Frozen):
    """One sentence of a draft with the looks that it cites."""

    text: str
    looks: tuple[Box, ...] = ()


class Said(Frozen):
    """What a system said of an item. A failure has no text; an abstention may have one that is not scored.

    looks: where it looked, in order. confidence: probability that the answer is right. score: for AUROC, of
    the benchmark's positive class. perturbed: a run that failed there has None. `text` of a mask benchmark is
    the path of the mask.
    """

    id: str
    text: str | None = None
    status: Literal["report", "abstained", "failed"] = "report"
    confidence: float | None = Field(default=None, ge=0, le=1)
    score: float | None = None
    looks: tuple[Box, ...] = ()
    claims: tuple[ClaimSaid, ...] = ()
    perturbed: Mapping[str, str | None] = Field(default={}, description="place → the answer there")
    seconds: float | None = None

    @property
    def scored_text(self) -> str | None:
        """What is scored: nothing for a failure or an abstention, whatever stands in its text."""
        return self.text if self.status == "report" else None


def read_items(path: Path) -> list[Item]:
    """Items of a JSONL file. UserError on a bad row, a repeated id, or no rows."""
    return _read(path, Item, ("id", "cluster"))


def read_said(path: Path) -> dict[str, Said]:
    """Id → what was said, from JSONL or CSV with `id` (or `case`) and `text`, and maybe the other fields.

    Without a status an empty text is an abstention and a null a failure. UserError as `read_items`.
    """
    rows = []
    for number, row in table_rows(path, ()):
        known = {k: v for k, v in row.items() if k in Said.model_fields and v not in ("", None)}
        known["id"] = str(row.get("id") or row.get("case") or "")
        if not known["id"]:
            raise UserError(f"{path}, line {number} has no 'id'. Each row needs id (or case) and text.")
        text = row.get("text")
        looked = bool(known.get("looks") or known.get("claims"))
        if text is None and not looked:
            known["status"] = "failed"
        elif "status" not in known and not looked and not str(text).strip():
            known["status"] = "abstained"
        rows.append((number, known | {"text": text}))
    return {said.id: said for said in _checked(path, Said, rows)}


def matched(items: Sequence[Item], said: Mapping[str, Said], source: Path) -> list[Said]:
    """What was said of each item, in their order; an item that is not there has failed.

    UserError on predictions of unknown items, or where nothing matches.
    """
    known = {item.id for item in items}
    strangers = sorted(set(said) - known)
    if strangers:
        raise UserError(
            f"{len(strangers)} predictions in {source} are of no item of it, {strangers[0]} first. "
            "Compare their id with those of items.jsonl."
        )
    if not said:
        raise UserError(f"{source} predicts nothing. Give one row an item, with id and text.")
    return [said.get(item.id, Said(id=item.id, status="failed")) for item in items]


def write_jsonl(path: Path, rows: Iterable[Frozen]) -> None:
    """One record a line; fields at their default are left out."""
    write_text_atomic(path, "".join(_line(row) for row in rows))


def digest_of(items: Sequence[Item]) -> str:
    """SHA-256 of the items, whatever file they came from; of a mask its content, not its path."""
    rows = (
        i.model_copy(update={"reference": i.truth["mask_sha256"]}) if "mask_sha256" in i.truth else i
        for i in items
    )
    return sha256_bytes("".join(canonical_json(row.model_dump(mode="json")) for row in rows).encode())


def _line(row: Frozen) -> str:
    return row.model_dump_json(exclude_defaults=True) + "\n"


def _read(path: Path, kind: type[Item], needed: tuple[str, ...]) -> list[Item]:
    return _checked(path, kind, list(table_rows(path, needed)))


T = TypeVar("T", "Item", "Said")


def _checked(path: Path, kind: type[T], rows: Sequence[tuple[int, dict[str, Any]]]) -> list[T]:
    found: dict[str, T] = {}
    for number, row in rows:
        try:
            record = kind.model_validate_json(json.dumps(row))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UserError(f"{path}, line {number}: {where}: {first['msg']}. Mend this row.") from None
        if record.id in found:
            raise UserError(f"{path}, line {number}: {record.id} stands there twice. Drop one.")
        found[record.id] = record
    return list(found.values())
