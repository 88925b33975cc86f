"""What drafts are compared with: the folder of criteria and the case index that the server was given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathagent.agents.comparison import compare_with
from pathagent.report import words
from pathagent.runs import CASE_NAME, load_record
from pathagent.state import CompareWith
from pathagent_tools.core.records import Report

if TYPE_CHECKING:
    from pathagent.reading_room.models import Models
    from pathagent.reading_room.settings import RoomSettings


def check(settings: RoomSettings, models: Models) -> None:
    """Read both once, so that what stands against them is said when the server starts.

    Raises UserError: absent, not readable, or an index of another encoder than the profile's.
    """
    given = given_now(settings)
    if given.index:
        from pathagent_tools.encoders.case_index import CaseIndex

        encoder = models.encoder()
        CaseIndex.open(Path(given.index), encoder=encoder.id, revision=encoder.revision)


def given_now(settings: RoomSettings) -> CompareWith:
    """Folder and index as they are now. UserError where they cannot be read any more."""
    return compare_with(settings.knowledge, settings.cases)


def begun_with(folder: Path) -> CompareWith | None:
    """What the run that keeps its work in `folder` was begun with; None where it was not begun."""
    return load_record(folder).case.compare if (folder / CASE_NAME).is_file() else None


def described(settings: RoomSettings) -> list[tuple[str, str]]:
    """(what, name of the folder), for the settings page."""
    given = (("written criteria", settings.knowledge), ("similar cases", settings.cases))
    return [(what, folder.name) for what, folder in given if folder is not None]


def compare_view(report: Report) -> dict[str, Any] | None:
    """The section "Compare" as the page shows it; None where the draft was compared with nothing."""
    found = report.compare
    if found is None:
        return None
    groups = ((words.CRITERIA, found.passages), (words.LIKE_CASES, found.cases))
    return {
        "title": words.COMPARE,
        "note": found.note,
        "groups": [
            {
                "title": title,
                "items": [{"id": i.id, "text": i.text, "source": words.source_of(i)} for i in items],
            }
            for title, items in groups
            if items
        ],
        "said": list(found.said),
    }
