"""The fixtures are part of the package `messenger.testing`."""

pytest_plugins = ["messenger.testing.plugin"]
