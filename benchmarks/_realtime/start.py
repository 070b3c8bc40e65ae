"""A server that starts."""

from __future__ import annotations

from statistics import median

from _report import Table
from _server import Server


def start(server: Server, *, quick: bool) -> list[Table]:
    """From the command until it is ready: on an empty folder, then on its database."""
    cold = server.start()
    warm, used = [], []
    for _ in range(3 if quick else 5):
        server.stop()
        warm.append(server.start())
        used.append(server.cpu().server)
    return [
        Table(
            "start: from the command to ready",
            [
                {"": "cold", "seconds": round(cold, 2)},
                {
                    "": "warm, median",
                    "seconds": round(median(warm), 2),
                    "aim": "≤ 1.5",
                    "max": round(max(warm), 2),
                    "server CPU, s": round(median(used), 2),
                },
            ],
            ["Cold: initdb and all migrations. Warm: its database is there, and stopped."],
        )
    ]
