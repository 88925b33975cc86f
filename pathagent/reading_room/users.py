"""Who may enter: users with passwords, one-time links, and tokens for programs."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from typing import Final, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from pathagent.reading_room import audit
from pathagent.reading_room.tables import Ticket, User
from pathagent_tools.core.errors import UserError

LOCAL_USER: Final = "local"
"""Who enters by the link that the server prints, where nobody has set up users."""
MIN_PASSWORD: Final = 10
LINK_HOURS: Final = 24
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
_COST: Final = {"n": 2**14, "r": 8, "p": 1}


def add_user(session: Session, name: str, password: str) -> User:
    """A new user with a password. UserError for a bad or known name, or a short password."""
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} cannot be a user's name. Use lower-case letters, digits, '.', '_', '-'.")
    if len(password) < MIN_PASSWORD:
        raise UserError(f"The password is too short. Give at least {MIN_PASSWORD} characters.")
    if find_user(session, name):
        raise UserError(f"There is a user {name} already. Choose another name.")
    user = User(name=name, password=_hashed(password))
    session.add(user)
    session.flush()
    audit.append(session, user.id, "user.added", user.id, {})
    return user


def local_user(session: Session) -> User:
    """The user of a server without users; made when first asked for."""
    found = find_user(session, LOCAL_USER)
    if found is None:
        found = User(name=LOCAL_USER, password=None)
        session.add(found)
        session.flush()
        audit.append(session, found.id, "user.added", found.id, {})
    return found


def find_user(session: Session, name: str) -> User | None:
    """The user of that name."""
    return session.scalars(select(User).where(User.name == name)).first()


def has_users(session: Session) -> bool:
    """Whether anybody has a password."""
    return session.scalars(select(User).where(User.password.is_not(None))).first() is not None


def check_password(session: Session, name: str, password: str) -> User | None:
    """The user, where name and password belong together. As slow for an unknown name as for a known one."""
    user = find_user(session, name)
    known = user.password if user and user.password else _NOBODY
    return user if _matches(password, known) and user and user.password else None


def issue(session: Session, user: User, kind: Literal["link", "token"]) -> str:
    """A new secret for that user; only its digest is kept."""
    secret = secrets.token_urlsafe(32)
    session.add(Ticket(user_id=user.id, kind=kind, digest=_digest(secret)))
    audit.append(session, user.id, f"{kind}.issued", user.id, {})
    return secret


def enter_by_link(session: Session, secret: str) -> User | None:
    """The user of a link that was not used yet and is at most a day old; the link is then used up."""
    ticket = _ticket(session, secret, "link")
    if ticket is None or ticket.used is not None or time.time() - ticket.created > LINK_HOURS * 3600:
        return None
    ticket.used = time.time()
    audit.append(session, ticket.user_id, "link.used", ticket.user_id, {})
    return session.get(User, ticket.user_id)


def user_of_token(session: Session, secret: str) -> User | None:
    """The user of an API token."""
    ticket = _ticket(session, secret, "token")
    return session.get(User, ticket.user_id) if ticket else None


def _ticket(session: Session, secret: str, kind: str) -> Ticket | None:
    return session.scalars(
        select(Ticket).where(Ticket.digest == _digest(secret), Ticket.kind == kind)
    ).first()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _hashed(password: str) -> str:
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}:{hashlib.scrypt(password.encode(), salt=salt, **_COST).hex()}"


def _matches(password: str, kept: str) -> bool:
    salt, digest = kept.split(":")
    found = hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), **_COST).hex()
    return hmac.compare_digest(found, digest)


_NOBODY: Final = f"{'00' * 16}:{'00' * 64}"
