"""The cookie of a reader who has signed in, and the word that every change must carry (CSRF)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from pathlib import Path
from typing import Final

from itsdangerous import BadSignature, URLSafeTimedSerializer

from pathagent.reading_room.keys import kept_key

COOKIE: Final = "pathagent_reader"
KEY_NAME: Final = "cookie.key"
DAYS: Final = 14


class Sessions:
    """Signs and reads cookies with a key that stays in the data folder: a restart signs nobody out."""

    def __init__(self, data: Path) -> None:
        self._key = kept_key(data / KEY_NAME)
        self._signer = URLSafeTimedSerializer(self._key, salt="reader")

    def cookie(self, user_id: str) -> str:
        """A new session of that user."""
        return str(self._signer.dumps([user_id, secrets.token_hex(8)]))

    def user_id(self, cookie: str) -> str | None:
        """Whose session it is; None where the cookie is forged or older than two weeks."""
        try:
            user_id, _ = self._signer.loads(cookie, max_age=DAYS * 86_400)
        except (BadSignature, ValueError, TypeError):
            return None
        return str(user_id)

    def csrf(self, cookie: str) -> str:
        """The word that belongs to a session; another site cannot read it."""
        return hmac.new(self._key, f"csrf {cookie}".encode(), hashlib.sha256).hexdigest()

    def csrf_holds(self, cookie: str, word: str) -> bool:
        """Whether the word belongs to the session."""
        return hmac.compare_digest(self.csrf(cookie).encode(), word.encode())


class Patience:
    """Counts wrong passwords: after five for one name, that name waits half a minute. Thread-safe."""

    tries = 5
    wait_s = 30.0

    def __init__(self) -> None:
        self._wrong: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def exhausted(self, name: str) -> bool:
        """Whether that name has to wait."""
        with self._lock:
            recent = [at for at in self._wrong.get(name, []) if time.monotonic() - at < self.wait_s]
            self._wrong = {n: times for n, times in self._wrong.items() if n != name}
            if recent:
                self._wrong[name] = recent
            return len(recent) >= self.tries

    def wrong(self, name: str) -> None:
        """Another wrong password."""
        with self._lock:
            self._wrong.setdefault(name, []).append(time.monotonic())
