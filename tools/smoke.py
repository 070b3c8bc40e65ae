"""Start a server without any configuration and run the commands of the pages that walk through the API."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import walk

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "group-walkthrough.md")
START_SECONDS = 60.0


def free_port() -> int:
    """A free port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def await_ready(url: str, server: subprocess.Popen[bytes]) -> float:
    """Wait until the server is ready; returns the seconds that it took."""
    started = time.monotonic()
    while server.poll() is None and time.monotonic() - started < START_SECONDS:
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=1):  # noqa: S310 - a constant URL
                return time.monotonic() - started
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the server did not start")


def main() -> int:
    """Returns 0 if every response is as printed."""
    folder, port = Path(tempfile.mkdtemp(prefix="messenger-walk-")), free_port()
    folder.chmod(0o711)
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {**kept, "MESSENGER_DATA_DIR": str(folder), "MESSENGER_PORT": str(port)}
    server = subprocess.Popen([sys.executable, "-m", "messenger", "serve"], env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        print(f"ready after {await_ready(url, server):.1f} s")
        # Twice, since readers may repeat the commands on the same database.
        return max(walk.main(page, url) for page in PAGES * 2)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
