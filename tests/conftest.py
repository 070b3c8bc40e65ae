"""The fixtures are part of the package `messenger.testing`."""

from hypothesis import settings

pytest_plugins = ["messenger.testing.plugin"]

# Tests are not timed: on a busy machine, a single example may take longer than any deadline.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
