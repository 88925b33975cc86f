"""The schema check agrees with what a schema says."""

from __future__ import annotations

from typing import Any

import pytest

from pathagent_tools.vlm.schema_check import fault

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "tissue": {"enum": ["stroma", "mucin"]},
        "percent": {"type": "integer", "minimum": 0, "maximum": 100},
        "sure": {"type": "boolean"},
        "cites": {"type": "array", "items": {"enum": ["E1", "E2"]}, "minItems": 1, "maxItems": 2},
        "text": {"type": "string", "maxLength": 5},
    },
    "required": ["tissue", "percent", "sure", "cites", "text"],
    "additionalProperties": False,
}
GOOD: dict[str, Any] = {"tissue": "stroma", "percent": 3, "sure": True, "cites": ["E1"], "text": "abc"}


def test_a_right_answer_has_no_fault() -> None:
    assert fault(GOOD, SCHEMA) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tissue": "bone"}, "stroma, mucin"),
        ({"percent": 101}, "0 to 100"),
        ({"percent": True}, "not an integer"),
        ({"percent": 3.5}, "not an integer"),
        ({"sure": "yes"}, "true or false"),
        ({"cites": []}, "0 items"),
        ({"cites": ["E9"]}, "E9"),
        ({"cites": "E1"}, "not an array"),
        ({"text": "abcdef"}, "at most 5"),
        ({"extra": 1}, "unknown field 'extra'"),
    ],
)
def test_a_wrong_answer_is_named(change: dict[str, Any], says: str) -> None:
    assert says in str(fault(GOOD | change, SCHEMA))


def test_a_lacking_field_is_named() -> None:
    assert "lacks 'text'" in str(fault({k: v for k, v in GOOD.items() if k != "text"}, SCHEMA))


def test_an_unknown_schema_word_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="pattern"):
        fault("a", {"type": "string", "pattern": "a"})
