"""One fact of a report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Fact:
    """`slot` of the report, what is spoken of (`key`), and what is said of it (`value`).

    Things that are there or not have the value `present`, `absent` or `uncertain`; others their own:
    `Fact("laterality", "side", "left")`, `Fact("measurement", "size mm", "12")`.
    """

    slot: str
    key: str
    value: str = "present"
