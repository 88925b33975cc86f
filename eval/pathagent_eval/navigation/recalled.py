"""A VLM that is asked the same thing once: answers are kept by the request, its pixels and the weights."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pathagent_tools.core.files import canonical_json, sha256_bytes
from pathagent_tools.core.protocols import Completion, ModelRequest, VisionLanguageModel


class RecalledVlm:
    """Wraps a VLM; several ways of looking at one slide share what it says of the same field."""

    def __init__(self, vlm: VisionLanguageModel, path: Path, *, weights: str = "") -> None:
        """path: SQLite file. weights: what else decides the answers (digests of adapters)."""
        self.vlm, self.id, self.revision = vlm, vlm.id, vlm.revision
        self.tile_px, self.tile_mpp = vlm.tile_px, vlm.tile_mpp
        path.parent.mkdir(parents=True, exist_ok=True)
        self._weights, self._lock = weights, threading.Lock()
        self._answers = sqlite3.connect(path, check_same_thread=False)
        self._answers.execute("CREATE TABLE IF NOT EXISTS answers (request TEXT PRIMARY KEY, said TEXT)")
        self.asked = 0

    def generate(self, requests: Sequence[ModelRequest]) -> list[Completion]:
        """As the VLM answers, or has answered before."""
        with self._lock:
            keys = [self._key(r) for r in requests]
            known = {key: said for key in keys if (said := self._said(key)) is not None}
            new = {key: r for key, r in zip(keys, requests, strict=True) if key not in known}
            if new:
                self.asked += len(new)
                for key, answer in zip(new, self.vlm.generate(list(new.values())), strict=True):
                    known[key] = answer
                    row = (key, json.dumps(asdict(answer)))
                    self._answers.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", row)
                self._answers.commit()
            return [known[key] for key in keys]

    def _said(self, key: str) -> Completion | None:
        row = self._answers.execute("SELECT said FROM answers WHERE request = ?", (key,)).fetchone()
        return Completion(**json.loads(row[0])) if row else None

    def _key(self, request: ModelRequest) -> str:
        asked = {
            "model": [self.id, self.revision, self._weights],
            "role": request.role,
            "system": request.system,
            "user": request.user,
            "schema": request.schema,
            "max_tokens": request.max_tokens,
            "images": [[list(i.shape), sha256_bytes(i.tobytes())] for i in request.images],
        }
        return sha256_bytes(canonical_json(asked).encode())
