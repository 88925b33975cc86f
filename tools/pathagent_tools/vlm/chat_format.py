"""Chat requests in OpenAI's format, and what can be read from the answer. No network."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Mapping
from typing import Any

from pathagent_tools.core.protocols import Image, ModelRequest
from pathagent_tools.vlm.schema_check import fault


def messages_of(request: ModelRequest) -> list[dict[str, Any]]:
    """System and user message; images stand before the text."""
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": data_url(image)}} for image in request.images
    ]
    parts.append({"type": "text", "text": request.user})
    return [{"role": "system", "content": request.system}, {"role": "user", "content": parts}]


def data_url(image: Image) -> str:
    """The pixels as a PNG data URL: no file name, no metadata."""
    from PIL import Image as Picture

    out = io.BytesIO()
    Picture.fromarray(image).save(out, format="PNG", compress_level=1)  # a third of the time, 5 % more bytes
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def read_answer(text: str, schema: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """(answer, "") or ({}, what is wrong with it)."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        return {}, "it is not a complete JSON object" if text else "it is empty"
    wrong = fault(data, schema)
    return ({}, wrong) if wrong else (data, "")


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def confidence_of(choice: Mapping[str, Any], text: str, data: dict[str, Any]) -> float | None:
    """Geometric mean probability of the tokens of the answer's values; keys and punctuation are forced."""
    rows = (choice.get("logprobs") or {}).get("content") or []
    if not rows:
        return None
    inside = bytearray(len(text))
    at = 0
    for leaf in _leaves(data):
        said = leaf if isinstance(leaf, str) else json.dumps(leaf)
        start = text.find(said, at)
        if start >= 0:
            at = start + len(said)
            inside[start:at] = b"\x01" * len(said)
    logs, position = [], 0
    for row in rows:
        end = position + len(row.get("token", ""))
        if any(inside[position:end]) and row.get("logprob") is not None:
            logs.append(float(row["logprob"]))
        position = end
    return round(math.exp(sum(logs) / len(logs)), 4) if logs else None
