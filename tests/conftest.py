"""The fixtures are part of the package `messenger.testing`."""

import signal

from hypothesis import settings

pytest_plugins = ["messenger.testing.plugin"]

# Tests are not timed: on a busy machine, a single example may take longer than any deadline.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Where SIGHUP is ignored, as under nohup, a server would keep it ignored. A handler is not inherited by other programs.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)
