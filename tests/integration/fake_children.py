"""Stands in for our worker, beat and API where a test is about the supervisor alone.

`python -m tests.integration.fake_children ROLE`, with ROLE one of `worker`, `beat`, `api`, `broken`,
`stubborn`.
"""

from __future__ import annotations

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class _Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


def main(role: str) -> None:
    print(f"{role} has begun", flush=True)
    if role == "broken":
        print("because of this", flush=True)
        sys.exit(3)
    if role == "api":
        HTTPServer(("127.0.0.1", int(os.environ["SIGNOFF_API_PORT"])), _Ready).serve_forever()
    if role == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if role in ("worker", "stubborn"):
        Path(os.environ["SIGNOFF_READY_FILE"]).write_text(str(os.getpid()))
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1])
