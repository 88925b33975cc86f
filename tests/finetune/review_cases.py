"""A reviewed case in small: one decision on three claims, with the prompts and pixels of its run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Claim
from pathagent_tools.core.review_pair import Asked, ReviewPair
from pathagent_tools.vlm import roles

LINES = {"E1": "E1 invasive tumour, solid nests (S1 centre)", "E2": "E2 stroma (S1 upper left)"}
SENTENCES = ("Solid carcinoma is favoured.", "Solid nests infiltrate.", "Mitoses are many.")
WHO, WHEN = "a" * 32, "b" * 32


def write_case(
    folder: Path,
    edits: dict[str, str],
    *,
    slide: str = "5" * 64,
    when: str = WHEN,
    verdicts: dict[str, str] | None = None,
    shade: int = 90,
) -> Path:
    """`folder/review/pairs.jsonl` of a run with a diagnosis C1 and the sentences C2, C3; returns the file.

    edits: claim id → new text, '' strikes. verdicts: of claims that the run did not find supported.
    """
    place = folder / "review"
    place.mkdir(parents=True, exist_ok=True)
    pixels = np.full((32, 32, 3), shade, np.uint8)
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    Image.fromarray(pixels).save(place / f"{digest[:24]}.png")
    asked = roles.write(
        "S1: tissue 3.0 mm2 in 1 piece.", "solid carcinoma (90 %)", "\n".join(LINES.values()), [*LINES]
    )
    said = [{"text": text, "cites": ["E1"]} for text in SENTENCES]
    written = Asked(system=asked.system, user=asked.user, text=json.dumps({"sentences": said}))
    texts = {"C1": "Solid carcinoma.", "C2": SENTENCES[1], "C3": SENTENCES[2]}
    pairs = []
    for number, (name, text) in enumerate(texts.items(), start=1):
        verdict: Any = (verdicts or {}).get(name, "supported")
        before = Claim(
            id=name, section="diagnosis" if name == "C1" else "microscopy", text=text, slide="S1",
            evidence=("E1",), verdict=verdict, written_by="model",
        )  # fmt: skip
        new = edits.get(name, text)
        after = before.model_copy(update={"text": new}) if new else None
        request = roles.verify(text, LINES["E1"])
        answer = {
            "said": "solid nests",
            "seen": "solid nests" if verdict == "supported" else "stroma",
            "verdict": verdict,
        }
        check = Asked(
            system=request.system, user=request.user, text=json.dumps(answer), look="E1", pixels_sha256=digest
        )
        pairs.append(
            ReviewPair(
                case=f"run-{slide[:4]}",
                slides=(slide,),
                number=number,
                of=3,
                before=before,
                after=after,
                verdict="struck" if after is None else "accepted" if new == text else "edited",
                evidence=("E1",),
                regions=(Region(slide="S1", x=0, y=0, width=64, height=64, mpp=1.0),),
                who=WHO,
                when=when,
                sentences=(SENTENCES[number - 1],),
                written=written,
                checks=(check,),
            )
        )
    path = place / "pairs.jsonl"
    with path.open("a") as out:
        out.writelines(f"{pair.model_dump_json()}\n" for pair in pairs)
    return path
