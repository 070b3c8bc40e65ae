"""`python -m _yardsticks.serve APPLICATION`: a yardstick on the server program that ours runs on, with its options.

`APPLICATION` is a factory as uvicorn names it. `MESSENGER_PORT` and `MESSENGER_WORKERS` are what they are for ours.
"""

from __future__ import annotations

import sys

import uvicorn
from uvicorn.supervisors import Multiprocess

from messenger import serving
from messenger.config import Settings


def main() -> None:
    settings = Settings.from_env(dotenv=None)
    # Its private function: so that options which change there change here, too.
    config = serving._config(settings, sys.argv[1])
    config.factory = True
    config.timeout_graceful_shutdown = 1
    listening = config.bind_socket()
    if settings.workers == 1:
        uvicorn.Server(config).run([listening])
    else:
        Multiprocess(config, [listening]).run()


if __name__ == "__main__":
    main()
