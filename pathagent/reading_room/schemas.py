"""What the API takes. Unknown fields are refused."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pathagent_tools.core.geometry import Frozen


class NewCase(Frozen):
    """A case to be opened."""

    slides: list[str] = Field(description="ids of slides, in their order", min_length=1, max_length=24)
    title: str = Field(default="", max_length=400, description="shown in lists; no patient's name")
    notes: str | None = Field(default=None, max_length=25_000, description="history, quoted in the report")
    specimen: str | None = Field(default=None, max_length=40, description="type, such as breast")
    mpp: float | None = Field(default=None, description="µm per pixel, where the slides do not say it")
    patient: str | None = Field(
        default=None, max_length=200, description="a key of your own that the patient's cases share; digested"
    )
    reader_mode: bool = Field(
        default=False, description="each reader commits an opinion before the machine's draft is shown"
    )
    illustrate: bool = Field(
        default=False, description="drafts may come with synthetic reference images, marked and apart"
    )
    draft: bool = Field(default=False, description="also put a draft into the line")


class NewReader(Frozen):
    """A user who shall see a case."""

    name: str = Field(max_length=80)


class PatientKey(Frozen):
    """The key that the patient's cases share."""

    key: str = Field(max_length=200, description="of your own making; only a keyed digest of it is kept")


class Rectangle(Frozen):
    """A drawn region in level-0 px."""

    x: int = Field(ge=0)
    y: int = Field(ge=0)
    width: int = Field(ge=16)
    height: int = Field(ge=16)


class Question(Frozen):
    """A question about the case, or about a region of one of its slides."""

    question: str = Field(default="", max_length=20_000)
    slide: str | None = Field(default=None, description="S1, S2, …: the slide of the region")
    region: Rectangle | None = None


class OwnOpinion(Frozen):
    """What a reader thinks before the machine's draft is shown."""

    diagnosis: str = Field(max_length=4_000)
    sure: int = Field(ge=0, le=100, description="percent")


class Compared(Frozen):
    """Whether the machine's draft says what the reader said."""

    agreement: Literal["same", "partly", "different"]


class AnotherLook(Frozen):
    """A claim of the draft for which more evidence is wanted."""

    claim: str = Field(pattern=r"^C[1-9][0-9]*$")


class Edits(Frozen):
    """A reader's words, on top of the version that was read."""

    base: int = Field(description="number of the version that was read")
    edits: dict[str, str] = Field(
        default={}, description="claim id → text, all that differ from the machine's draft; '' strikes"
    )
    accepted: list[str] = Field(default=[], description="ids of claims that the reader agrees to")
    comment: str = Field(default="", max_length=4_000)


class Decision(Frozen):
    """The decision that ends a draft's wait."""

    base: int = Field(description="number of the version that was read")
    decision: Literal["approve", "reject"]
    comment: str = Field(default="", max_length=4_000)
