"""Synthetic reference images of a report: the marked files that its run has written, and no others.

They are drawn by a generator, never evidence, and shown apart from the slide. A file is given out only
while it is byte for byte the one whose marks were read back when it was written.
"""

from __future__ import annotations

from pathagent.drafting import SYNTHETIC
from pathagent.reading_room.room import Room
from pathagent.reading_room.tables import CaseRow, VersionRow
from pathagent_tools.core.files import sha256_bytes
from pathagent_tools.core.records import Report


def marked(room: Room, row: CaseRow, version: VersionRow) -> dict[str, bytes]:
    """Id → PNG of each illustration of that version whose marked file is there and untouched."""
    folder = room.case_folder(row.id) / "reports" / version.run_id / SYNTHETIC
    found = {}
    for image in Report.model_validate(version.report).illustrations:
        path = folder / image.file
        if path.parent == folder and path.is_file():
            data = path.read_bytes()
            if sha256_bytes(data) == image.sha256 and image.marks:
                found[image.id] = data
    return found
