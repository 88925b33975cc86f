"""The slides that may be shown: files of the allowed folders, by random ids; open ones are kept open."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import select

from pathagent.reading_room.database import Database
from pathagent.reading_room.naming import named
from pathagent.reading_room.tables import SlideFile
from pathagent_tools.core.errors import MissingSlideError, ResolutionError, SlideError, UserError
from pathagent_tools.slides import Slide, open_slide
from pathagent_tools.slides.source import SLIDE_SUFFIXES

MOST_SLIDES: Final = 5000
"""Files of the allowed folders that are listed at most."""
OPEN_AT_ONCE: Final = 6
"""Slides that keep a decoding process each."""


class Library:
    """Lists, finds and opens slides. Thread-safe. No path ever comes from a reader."""

    def __init__(self, database: Database, folders: Sequence[Path]) -> None:
        self.folders = tuple(f.expanduser().resolve() for f in folders)
        for folder in self.folders:
            if not folder.is_dir():
                raise UserError(f"No such folder: {folder}. Give a folder of slides with --folder.")
        self._database, self._lock = database, threading.Lock()
        self._open: OrderedDict[tuple[str, float | None], Slide] = OrderedDict()

    def listed(self) -> list[SlideFile]:
        """The slide files that lie in the allowed folders now, by name; new ones get their ids."""
        paths = sorted({str(p) for folder in self.folders for p in _slides_below(folder)})[:MOST_SLIDES]
        with self._database.reading() as session:
            known = {row.path: row for row in session.scalars(select(SlideFile))}
        if any(path not in known for path in paths):
            with self._database.writing() as session:
                known = {row.path: row for row in session.scalars(select(SlideFile))}
                for path in paths:
                    if path not in known:
                        known[path] = SlideFile(path=path, name=Path(path).name)
                        session.add(known[path])
        return sorted((known[path] for path in paths), key=lambda row: (row.name.lower(), row.path))

    def find(self, slide_id: str) -> SlideFile:
        """The file of that id. MissingSlideError where it is unknown, gone, or in no allowed folder."""
        with self._database.reading() as session:
            row = session.get(SlideFile, slide_id)
        if row is None or not self._allowed(Path(row.path)):
            raise MissingSlideError("There is no such slide in the folders of this server.")
        if not Path(row.path).exists():
            raise MissingSlideError(f"{row.name} is gone from its folder. Put it back, or open a new case.")
        return row

    def open(self, slide_id: str, mpp: float | None = None) -> Slide:
        """The open slide; its region ids are 'S1'. Raises SlideError, which knows the slide by its name."""
        row = self.find(slide_id)
        key = (slide_id, mpp)
        with self._lock:
            if key in self._open:
                self._open.move_to_end(key)
                return self._open[key]
        try:
            slide = open_slide(row.path, mpp=mpp)
        except SlideError as error:
            raise type(error)(named(str(error), Path(row.path))) from None
        with self._lock:
            slide = self._open.setdefault(key, slide)
            self._open.move_to_end(key)
            while len(self._open) > OPEN_AT_ONCE:
                self._open.popitem(last=False)[1].close()
            return slide

    def open_to_show(self, slide_id: str) -> Slide:
        """The open slide where only its pixels matter: one without a resolution opens, too."""
        self.find(slide_id)
        with self._lock:
            for key in ((slide_id, None), (slide_id, 1.0)):
                if key in self._open:
                    self._open.move_to_end(key)
                    return self._open[key]
        try:
            return self.open(slide_id)
        except ResolutionError:
            return self.open(slide_id, mpp=1.0)

    def place(self, row: SlideFile) -> str:
        """The folder of a slide as a reader may see it: relative to its allowed folder."""
        for folder in self.folders:
            if Path(row.path).is_relative_to(folder):
                return str(Path(folder.name) / Path(row.path).parent.relative_to(folder))
        return ""

    def told(self, text: str) -> str:
        """The text with every slide of the folders by its name."""
        if not any(str(folder) in text for folder in self.folders):
            return text
        with self._database.reading() as session:
            paths = session.scalars(select(SlideFile.path)).all()
        for path in sorted(paths, key=len, reverse=True):
            if str(Path(path).parent) in text:
                text = named(text, Path(path))
        return text

    def close(self) -> None:
        """Close all slides."""
        with self._lock:
            for slide in self._open.values():
                slide.close()
            self._open.clear()

    def _allowed(self, path: Path) -> bool:
        return any(path.resolve().is_relative_to(folder) for folder in self.folders)


def _slides_below(folder: Path) -> list[Path]:
    """Files with a slide's ending, and folders of one DICOM series; links that lead out are left out."""
    found: list[Path] = []
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        place = Path(here)
        slides = [place / n for n in sorted(names) if Path(n).suffix.lower() in SLIDE_SUFFIXES]
        if slides and all(s.suffix.lower() == ".dcm" for s in slides):
            slides = [place] if place != folder else slides
        found += [s for s in slides if s.resolve().is_relative_to(folder)]
        if len(found) > MOST_SLIDES:
            break
    return found
