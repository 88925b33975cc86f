"""Does an answer follow its JSON schema? For the part of JSON Schema that our roles use.

Objects with required and closed properties, arrays with bounds, bounded strings, integers with a range,
booleans, enums. Anything else in a schema is a mistake of the caller and raises ValueError.
"""

from __future__ import annotations

from typing import Any

_KNOWN = {
    "type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems",
    "minLength", "maxLength", "minimum", "maximum", "enum",
}  # fmt: skip


def fault(value: Any, schema: dict[str, Any], where: str = "answer") -> str | None:
    """The first way in which `value` breaks `schema`, in words; None when it follows it."""
    unknown = schema.keys() - _KNOWN
    if unknown:
        raise ValueError(f"schema keyword {sorted(unknown)[0]!r} is not supported; known: {sorted(_KNOWN)}")
    if "enum" in schema:
        allowed = schema["enum"]
        return None if value in allowed else f"{where} is {value!r}, allowed: {', '.join(map(str, allowed))}"
    kind = schema.get("type")
    check = {
        "object": _object,
        "array": _array,
        "string": _string,
        "integer": _integer,
        "boolean": _boolean,
    }.get(str(kind))
    if check is None:
        raise ValueError(f"schema type {kind!r} is not supported")
    return check(value, schema, where)


def _object(value: Any, schema: dict[str, Any], where: str) -> str | None:
    if not isinstance(value, dict):
        return f"{where} is not an object"
    properties = schema.get("properties", {})
    for key in schema.get("required", ()):
        if key not in value:
            return f"{where} lacks {key!r}"
    for key, item in value.items():
        if key not in properties:
            if schema.get("additionalProperties", True) is False:
                return f"{where} has the unknown field {key!r}"
            continue
        found = fault(item, properties[key], f"{where}.{key}")
        if found:
            return found
    return None


def _array(value: Any, schema: dict[str, Any], where: str) -> str | None:
    if not isinstance(value, list):
        return f"{where} is not an array"
    low, high = schema.get("minItems", 0), schema.get("maxItems", len(value))
    if not low <= len(value) <= high:
        return f"{where} has {len(value)} items, allowed {low} to {high}"
    for i, item in enumerate(value):
        found = fault(item, schema.get("items", {}), f"{where}[{i}]")
        if found:
            return found
    return None


def _string(value: Any, schema: dict[str, Any], where: str) -> str | None:
    if not isinstance(value, str):
        return f"{where} is not a string"
    low, high = schema.get("minLength", 0), schema.get("maxLength", len(value))
    return None if low <= len(value) <= high else f"{where} has {len(value)} characters, at most {high}"


def _integer(value: Any, schema: dict[str, Any], where: str) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return f"{where} is not an integer"
    low, high = schema.get("minimum", value), schema.get("maximum", value)
    return None if low <= value <= high else f"{where} is {value}, allowed {low} to {high}"


def _boolean(value: Any, schema: dict[str, Any], where: str) -> str | None:
    return None if isinstance(value, bool) else f"{where} is not true or false"
