"""Tiny real models for tests of the graph: an encoder of colours, and a model that looks at pixels.

They follow the protocols of the real ones, so nothing in the graph knows the difference. The looking
model reads darkness: dark fields are tumour. Its other roles reason from the text that it is given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pathagent
from pathagent_tools.core.errors import ModelUnavailableError
from pathagent_tools.core.protocols import Completion, Image, ModelRequest
from pathagent_tools.core.records import Report

PROFILE = "openai-compatible"
"""A profile that is not bound to phantoms; the tests give their own models."""


class ColourEncoder:
    """Embeds a tile as its colour statistics, and a text as a fixed direction of its letters."""

    id, revision, tile_px, tile_mpp, dim = "colours", "1", 64, 1.0, 9

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = tiles.reshape(len(tiles), -1, 3).astype(np.float32) / 255
        quarter = tiles[:, : tiles.shape[1] // 2].reshape(len(tiles), -1, 3).astype(np.float32) / 255
        return np.concatenate([pixels.mean(1), pixels.std(1), quarter.mean(1)], axis=1)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        seeds = [sum(map(ord, text)) for text in texts]
        return np.stack([np.random.default_rng(s).normal(size=self.dim) for s in seeds]).astype(np.float32)


Hook = Callable[[ModelRequest], None]


@dataclass
class LookingModel:
    """Describes what it sees: tumour where a field is darker than `dark`, stroma elsewhere.

    contrary: says the opposite of what it sees. verdict: of every check; "read" compares with the pixels.
    before: called with each request (to kill, to count).
    """

    contrary: bool = False
    dark: float = 150.0
    sufficient_after: int = 4
    percent: int = 90
    before: Hook | None = None
    verdict: str = "supported"
    id: str = "looking-model"
    revision: str = "1"
    tile_px: int = 96
    tile_mpp: float = 1.0
    asked: list[ModelRequest] = field(default_factory=list)

    def generate(self, requests: Sequence[ModelRequest]) -> list[Completion]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: ModelRequest) -> Completion:
        if self.before is not None:
            self.before(request)
        self.asked.append(request)
        data = self._roles()[request.role](request)
        text = json.dumps(data)
        return Completion(text, data, prompt_tokens=100, completion_tokens=20, seconds=0.0, confidence=0.9)

    def is_tumour(self, image: Image) -> bool:
        return bool(image.mean() < self.dark) != self.contrary

    def _describe(self, request: ModelRequest) -> dict[str, Any]:
        tumour = self.is_tumour(request.images[0])
        return {
            "tissue": "invasive tumour" if tumour else "stroma",
            "architecture": "irregular glands" if tumour else "none",
            "nuclear_grade": "intermediate" if tumour else "none",
            "mitoses": "none",
            "necrosis": "absent",
            "inflammation": "none",
            "artifact": "none",
            "stain": "balanced",
            "sentence": "Irregular glands." if tumour else "Stroma.",
        }

    def _navigate(self, request: ModelRequest) -> dict[str, Any]:
        items = request.schema["properties"]["choose"]
        return {"choose": items["items"]["enum"][-items["maxItems"] :], "reason": "the last ones"}

    def _diagnose(self, request: ModelRequest) -> dict[str, Any]:
        if "invasive tumour" in request.user:
            first = {"diagnosis": "adenocarcinoma", "grade": "grade 2", "percent": self.percent}
        else:
            first = {"diagnosis": "no significant abnormality", "grade": "none", "percent": 85}
        return {"differential": [first, {"diagnosis": "adenoma", "grade": "none", "percent": 5}]}

    def _judge(self, request: ModelRequest) -> dict[str, Any]:
        looks = len(re.findall(r"^E\d+ ", request.user, flags=re.MULTILINE))
        enough = looks >= self.sufficient_after
        missing = "" if enough else "irregular glands in tissue not yet seen"
        return {"about": "diagnosis", "seen": f"{looks} looks", "sufficient": enough, "missing": missing}

    def _write(self, request: ModelRequest) -> dict[str, Any]:
        lines = re.findall(r"^(E\d+) (.*)$", request.user, flags=re.MULTILINE)
        tumour = [i for i, line in lines if "tumour" in line][:3]
        rest = [i for i, line in lines if "tumour" not in line][:3]
        named = re.search(r"^Differential: ([^(;]*)", request.user, flags=re.MULTILINE)
        first = f"The findings favour {named[1].strip()}." if named else "No diagnosis."
        sentences = [{"text": first, "cites": tumour or rest}]
        if tumour:
            sentences.append({"text": "Irregular glands infiltrate the stroma.", "cites": tumour})
        if rest:
            sentences.append({"text": "Other fields show stroma.", "cites": rest})
        return {"sentences": sentences}

    def _verify(self, request: ModelRequest) -> dict[str, Any]:
        verdict = self.verdict
        if verdict == "read":
            tumour = self.is_tumour(request.images[0])
            about_stroma = "stroma." in request.user.splitlines()[0]
            verdict = "contradicted" if tumour == about_stroma else "supported"
        return {"said": "the claim", "seen": "the look", "verdict": verdict}

    def _answer_question(self, request: ModelRequest) -> dict[str, Any]:
        lines = re.findall(r"^(E\d+) (.*)$", request.user, flags=re.MULTILINE)
        tumour = [i for i, line in lines if "tumour" in line][:3]
        return {
            "about": "tumour",
            "seen": "tumour" if tumour else "none",
            "class": "answered",
            "answer": "yes" if tumour else "no",
            "cites": tumour or ["E1"],
        }

    def _roles(self) -> dict[str, Callable[[ModelRequest], dict[str, Any]]]:
        return {
            "describe": self._describe,
            "navigate": self._navigate,
            "diagnose": self._diagnose,
            "judge": self._judge,
            "write": self._write,
            "verify": self._verify,
            "answer": self._answer_question,
        }


def gone_after(count: int) -> Hook:
    """A server that goes away after `count` answers."""
    seen: list[str] = []

    def hook(request: ModelRequest) -> None:
        if len(seen) >= count:
            raise ModelUnavailableError("The model server at http://127.0.0.1:1 went away.")
        seen.append(request.role)

    return hook


def draft_tiny(slides: Any, *, task: str = "report", **arguments: Any) -> Report:
    """`pathagent.draft_report` or `ask` with these models."""
    arguments = {"vlm": LookingModel(), "encoder": ColourEncoder(), "profile": PROFILE, **arguments}
    return (pathagent.ask if task == "ask" else pathagent.draft_report)(slides, **arguments)
