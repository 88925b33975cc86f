"""The tables of the reading room. Ids are random and say nothing; times are unix seconds, UTC.

`event`, `report_version` and `audit` only grow: triggers of the database refuse to change them.
"""

from __future__ import annotations

import time
import uuid
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

APPEND_ONLY: Final = ("event", "report_version", "audit")
_Number = BigInteger().with_variant(Integer, "sqlite")


def new_id() -> str:
    """A random id, 32 hex digits."""
    return uuid.uuid4().hex


class Table(DeclarativeBase):
    """Base of all tables."""


class User(Table):
    """A person who may sign in. `password` is a scrypt hash; None where entry is by link only."""

    __tablename__ = "user_account"
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    password: Mapped[str | None] = mapped_column(Text)
    created: Mapped[float] = mapped_column(Float, default=time.time)


class Ticket(Table):
    """A secret that lets its user in, kept as its SHA-256: a one-time link, or a token of the API."""

    __tablename__ = "ticket"
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"))
    kind: Mapped[str] = mapped_column(String(8))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created: Mapped[float] = mapped_column(Float, default=time.time)
    used: Mapped[float | None] = mapped_column(Float)


class SlideFile(Table):
    """A slide file of an allowed folder; pages and addresses know it by its id alone."""

    __tablename__ = "slide"
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    path: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    added: Mapped[float] = mapped_column(Float, default=time.time)


class CaseRow(Table):
    """A case: its slides in their order, and what was said of it when it was opened.

    `patient` is the digest of a key that only its typist knows (`timeline`); cases of one patient share it.
    `reader_mode`: see `Opinion`. `illustrate`: drafts may come with synthetic reference images.
    """

    __tablename__ = "patient_case"
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    owner_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"), index=True)
    title: Mapped[str] = mapped_column(Text)
    notes: Mapped[str | None] = mapped_column(Text)
    specimen: Mapped[str | None] = mapped_column(String(40))
    mpp: Mapped[float | None] = mapped_column(Float)
    patient: Mapped[str | None] = mapped_column(String(64), index=True)
    reader_mode: Mapped[bool] = mapped_column(Boolean, default=False)
    illustrate: Mapped[bool] = mapped_column(Boolean, default=False)
    slides: Mapped[list[Any]] = mapped_column(JSON)
    created: Mapped[float] = mapped_column(Float, default=time.time)


class CaseReader(Table):
    """A user with whom the owner of a case has shared it."""

    __tablename__ = "case_reader"
    case_id: Mapped[str] = mapped_column(ForeignKey("patient_case.id"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"), primary_key=True)


class RunRow(Table):
    """One piece of work of the agents on a case.

    kind: draft, ask, region, look (another look at a claim). state: queued, running, waiting (for review),
    deciding, done, failed, paused, stopped, superseded. `report` is what it ended in, loaded when it is
    asked for; `answer` is what the conversation says of it.
    """

    __tablename__ = "run"
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    case_id: Mapped[str] = mapped_column(ForeignKey("patient_case.id"), index=True)
    number: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(String(8))
    state: Mapped[str] = mapped_column(String(12), default="queued", index=True)
    reason: Mapped[str] = mapped_column(Text, default="")
    question: Mapped[str | None] = mapped_column(Text)
    region: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    about: Mapped[str | None] = mapped_column(Text)
    profile: Mapped[str] = mapped_column(Text)
    asked_by: Mapped[str] = mapped_column(ForeignKey("user_account.id"))
    begun_from: Mapped[str | None] = mapped_column(String(32))
    decision: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON, deferred=True)
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    created: Mapped[float] = mapped_column(Float, default=time.time)
    started: Mapped[float | None] = mapped_column(Float)
    ended: Mapped[float | None] = mapped_column(Float)
    __table_args__ = (UniqueConstraint("case_id", "number"),)


class EventRow(Table):
    """What happened in a run, as it happened. The id orders the events of all cases."""

    __tablename__ = "event"
    id: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("patient_case.id"))
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"))
    at: Mapped[float] = mapped_column(Float, default=time.time)
    kind: Mapped[str] = mapped_column(String(24))
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    __table_args__ = (Index("event_of_case", "case_id", "id"),)


class VersionRow(Table):
    """One version of a case's report: the machine's draft, a human's edits of it, or the decided report.

    `author_id` is None where the machine wrote it. `edits`: claim id → text, all that differs from the draft
    ('' strikes); `accepted`: ids of claims that the human has agreed to. `diff`: what this version changed.
    """

    __tablename__ = "report_version"
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    case_id: Mapped[str] = mapped_column(ForeignKey("patient_case.id"), index=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"))
    number: Mapped[int] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(String(10))
    author_id: Mapped[str | None] = mapped_column(ForeignKey("user_account.id"))
    at: Mapped[float] = mapped_column(Float, default=time.time)
    report: Mapped[dict[str, Any]] = mapped_column(JSON)
    edits: Mapped[dict[str, Any]] = mapped_column(JSON)
    accepted: Mapped[list[Any]] = mapped_column(JSON)
    diff: Mapped[list[Any]] = mapped_column(JSON)
    comment: Mapped[str] = mapped_column(Text, default="")
    __table_args__ = (UniqueConstraint("case_id", "number"),)


class Opinion(Table):
    """What a reader of a case in reader mode thought before the machine's draft was shown to them.

    `started`: when they first saw the case; `committed`: when their opinion stood, None until then. `sure`
    is in percent. `agreement`: what they said of the draft afterwards: same, partly or different.
    """

    __tablename__ = "opinion"
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    case_id: Mapped[str] = mapped_column(ForeignKey("patient_case.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"))
    started: Mapped[float] = mapped_column(Float, default=time.time)
    committed: Mapped[float | None] = mapped_column(Float)
    diagnosis: Mapped[str] = mapped_column(Text, default="")
    sure: Mapped[int | None] = mapped_column(Integer)
    agreement: Mapped[str | None] = mapped_column(String(10))
    compared: Mapped[float | None] = mapped_column(Float)
    __table_args__ = (UniqueConstraint("case_id", "user_id"),)


class AuditRow(Table):
    """One link of the audit chain; `detail` is canonical JSON. See `audit`."""

    __tablename__ = "audit"
    seq: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=False)
    at: Mapped[float] = mapped_column(Float)
    who: Mapped[str] = mapped_column(String(32))
    action: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(32))
    detail: Mapped[str] = mapped_column(Text)
    previous: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))
