"""Named things with lazy targets: `"module:object"` strings, resolved when first asked for."""

from __future__ import annotations

import difflib
import importlib
from importlib.metadata import entry_points
from typing import Any

from pathagent_tools.core.errors import UserError


class Registry:
    """A name → target table. A duplicate is an error, an unknown name gets suggestions.

    Third parties add entries through the entry-point group `group`.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind, self.group = kind, group
        self._targets: dict[str, str] = {}

    def add(self, name: str, target: str) -> None:
        """Register `"package.module:object"` under `name`."""
        if name in self._targets:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._targets[name] = target

    def names(self) -> list[str]:
        """All names, entry points included, sorted."""
        return sorted({*self._targets, *(e.name for e in entry_points(group=self.group))})

    def get(self, name: str) -> Any:
        """The object behind `name`, imported now."""
        if name in self._targets:
            module, _, attribute = self._targets[name].partition(":")
            return getattr(importlib.import_module(module), attribute)
        for entry in entry_points(group=self.group, name=name):
            return entry.load()
        close = difflib.get_close_matches(name, self.names(), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UserError(f"Unknown {self.kind} {name!r}.{hint} Known: {', '.join(self.names())}.")
