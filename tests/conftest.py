"""The fixtures ship with the package."""

pytest_plugins = ["messenger.testing.plugin"]
