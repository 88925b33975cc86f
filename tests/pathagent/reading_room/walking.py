"""The application's own table of routes: every address, what it takes, and a request for it.

Nothing is listed by hand, so a new route is walked by the tests from its first day.
"""

from __future__ import annotations

import asyncio
import json
import re
import types
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin
from urllib.parse import quote, unquote

from fastapi.routing import APIRoute
from pydantic import BaseModel
from rooms import Visitor
from starlette.routing import Mount, Route


@dataclass(frozen=True)
class Address:
    """One method of one route. body: the record that it takes, where it takes JSON."""

    method: str
    path: str
    query: tuple[str, ...] = ()
    body: type[BaseModel] | None = None

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"{(\w+)", self.path)


def addresses(app: Any) -> list[Address]:
    """Every method of every route of the application."""
    found = []
    for route in app.routes:
        if isinstance(route, APIRoute):
            body = route.body_field.field_info.annotation if route.body_field else None
            query = tuple(field.alias for field in route.dependant.query_params)
            found += [Address(method, route.path, query, body) for method in sorted(route.methods)]
        elif isinstance(route, Route):
            found += [Address("GET", route.path)]
        elif isinstance(route, Mount):
            found += [Address("GET", f"{route.path}/{{path}}")]
        else:
            raise AssertionError(f"{route} is of no known kind")
    return found


def example(kind: Any, text: str) -> Any:
    """A value of that type in which every string is `text`."""
    if kind is str:
        return text
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: example(field.annotation, text) for name, field in kind.model_fields.items()}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return example(arguments[0], text)
    if origin is Literal:
        return arguments[0]
    if origin is list:
        return [example(arguments[0], text)]
    if origin is dict:
        return {text: example(arguments[1], text)}
    return {bool: False, int: 16, float: 0.5}[kind]


def values_of(view: dict[str, Any]) -> dict[str, str]:
    """A value for each parameter of a path, from a case as its API shows it."""
    return {
        "case_id": view["id"],
        "run_id": view["runs"][0]["id"] if view["runs"] else "0" * 32,
        "slide_id": view["slides"][0]["id"],
        "slide": "S1",
        "evidence_id": "E1",
        "image_id": "G1",
        "number": "1",
        "kind": "json",
        "level": "8",
        "column": "0",
        "row": "0",
        "path": "room.js",
    }


def filled(path: str, values: dict[str, str]) -> str:
    """The path with its parameters. KeyError where a new kind of parameter has come: give it a value."""
    return re.sub(r"{(\w+)[^}]*}", lambda m: values[m[1]], path)


def variants(address: Address, values: dict[str, str], payload: str) -> list[tuple[str, str, bytes]]:
    """(where the payload stands, target, body): in each parameter of the path, of the query, in the body."""
    whole = filled(address.path, values)
    body = json.dumps(example(address.body, "Is there tumour?")).encode() if address.body else b""
    found = [("path", filled(address.path, {**values, name: payload}), body) for name in address.parameters]
    found += [("query", f"{whole}?{name}={quote(payload)}", body) for name in address.query]
    if address.body:
        found.append(("body", whole, json.dumps(example(address.body, unquote(payload))).encode()))
    return found


async def send(
    visitor: Visitor, method: str, target: str, body: bytes = b"", *, stays_s: float = 0.0, length: int = -1
) -> tuple[int, bytes]:
    """(status, body) of the application's answer to a target as it would come over the wire.

    A client would tidy `..` away before anything is sent; an attacker does not. stays_s: how long the
    visitor listens to a stream of events, at most until the first batch has come. length: bytes that are
    announced, where not those sent.
    """
    raw, _, query = target.partition("?")
    cookies = "; ".join(f"{c.name}={c.value}" for c in visitor.cookies.jar)
    headers = {
        "host": "127.0.0.1:8860",
        "cookie": cookies,
        "x-csrf-token": visitor.headers.get("x-csrf-token", ""),
        "content-type": "application/json",
        "content-length": str(len(body) if length < 0 else length),
    }
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": unquote(raw), "raw_path": raw.encode("latin-1", "replace"), "query_string": query.encode(),
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8860), "root_path": "", "state": {},
    }  # fmt: skip
    said: dict[str, Any] = {"status": 0, "body": b"", "heard": False}

    async def receive() -> dict[str, Any]:
        if not said["heard"] and not stays_s:
            said["heard"] = True
            return {"type": "http.request", "body": body, "more_body": False}
        for _ in range(round(stays_s / 0.05)):
            if b"data:" in said["body"]:
                break
            await asyncio.sleep(0.05)
        return {"type": "http.disconnect"}

    async def answer(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            said["status"] = message["status"]
        else:
            said["body"] += message.get("body", b"")

    await visitor.app(scope, receive, answer)
    return said["status"], said["body"]
