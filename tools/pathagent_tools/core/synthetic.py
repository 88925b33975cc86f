"""A generated image as a record. It has no place on a slide and no id of evidence: it can support nothing."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from pathagent_tools.core.geometry import Frozen


class ReadBack(Frozen):
    """One thing that an image claims to show, and what encoder or measurements found in it."""

    claim: str
    found: str
    by: str = Field(description="'encoder' or 'measurements'")
    agrees: bool


class SyntheticImage(Frozen):
    """A marked picture in a `synthetic` folder. Never evidence for a claim.

    `request` is what the generator was told; `file` the name inside the folder; `marks` what was found in
    the written file by the same reader as `pathagent generate verify`.
    """

    kind: Literal["synthetic"] = "synthetic"
    id: str = Field(pattern=r"^G[1-9][0-9]*$")
    file: str
    sha256: str
    task: str
    title: str
    reason: str = Field(description="why it was drawn")
    request: dict[str, Any]
    seed: int
    generator: str
    revision: str
    read_back: tuple[ReadBack, ...] = ()
    marks: tuple[str, ...]
    width: int
    height: int
