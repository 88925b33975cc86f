"""What the life of a server is tested with: a leader that answers /health and a child that ignores SIGTERM.

`python -m standin_server --port N …` as vLLM is started. STANDIN=die prints what a dying vLLM prints;
STANDIN=leave answers a few times and ends by itself; STANDIN=load is never ready, as a server that loads.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
LAST_WORDS = """\
(EngineCore pid=12) INFO 11-25 19:46:27 [cpu_worker.py:12] Starting to load model
(EngineCore pid=12) ERROR 11-25 19:46:59 [core.py:97] Traceback (most recent call last):
(EngineCore pid=12) ERROR 11-25 19:46:59 [core.py:97] ValueError: head_dim 24 is not supported.
(APIServer pid=7) Traceback (most recent call last):
(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above.
"""


class Health(BaseHTTPRequestHandler):
    """Answers everything with 200, or with 503 where it loads."""

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response(503 if os.environ.get("STANDIN") == "load" else 200)
        self.send_header("content-length", "0")
        self.end_headers()


def main() -> None:
    manner = os.environ.get("STANDIN", "")
    if manner == "die":
        sys.exit(LAST_WORDS)
    child = subprocess.Popen([sys.executable, "-c", STUBBORN])
    Path(os.environ["STANDIN_CHILD"]).write_text(str(child.pid))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Health)
    server.handle_request()
    if manner == "leave":
        sys.exit("ValueError: the engine ran out of luck")
    server.serve_forever()


if __name__ == "__main__":
    main()
