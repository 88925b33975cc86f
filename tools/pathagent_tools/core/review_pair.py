"""What a human's review teaches: each claim of a draft before and after, and what the model was asked.

One JSONL line a claim, whole by itself: the prompts stand in it as the model read them, and the pixels
lie beside the file under the digest that the line names.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pathagent_tools.core.geometry import Frozen, Region
from pathagent_tools.core.records import Claim

REVIEW_FOLDER = "review"
"""Folder inside that of a case."""
PAIRS_NAME = "pairs.jsonl"

ReviewVerdict = Literal["accepted", "edited", "struck"]


class Asked(Frozen):
    """One question to the model as it was put in the run, and the raw completion."""

    system: str
    user: str
    text: str = Field(description="the raw completion, JSON of the role's schema")
    look: str | None = Field(default=None, description="evidence id of the look whose pixels were shown")
    pixels_sha256: str | None = Field(default=None, description="of those pixels, RGB bytes row by row")

    @property
    def image_name(self) -> str | None:
        """The file beside the pairs that holds the pixels."""
        return f"{self.pixels_sha256[:24]}.png" if self.pixels_sha256 else None


class ReviewPair(Frozen):
    """One claim that a model wrote, as it stood in the draft and as a human left it.

    `who` and `when` are random ids: `who` is the same for one reviewer on one machine, `when` for the
    claims of one decision. Neither is a name or a time.
    """

    schema_version: Literal[1] = 1
    case: str = Field(description="key of the run")
    slides: tuple[str, ...] = Field(min_length=1, description="sha256 of each slide of the case")
    patient: str | None = Field(default=None, description="may be added, where cases of one patient are")
    split: str | None = Field(default=None, description="may be added: train, validation or test")
    number: int = Field(ge=1, description="place in the decision, 1 … `of`")
    of: int = Field(ge=1, description="claims of the decision: a decision with fewer lines is not whole")
    before: Claim
    after: Claim | None = Field(description="None where the claim was struck")
    verdict: ReviewVerdict
    evidence: tuple[str, ...]
    regions: tuple[Region, ...] = Field(description="where the evidence lies, in its order")
    who: str = Field(pattern=r"^[0-9a-f]{16,}$")
    when: str = Field(pattern=r"^[0-9a-f]{16,}$")
    sentences: tuple[str, ...] = Field(description="sentences of `written` that became this claim")
    written: Asked | None = Field(description="the question whose answer holds the claim")
    checks: tuple[Asked, ...] = Field(description="the claim beside one look each")
