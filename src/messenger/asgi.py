"""The application for a server program: `uvicorn messenger.asgi:app`. The environment configures it."""

from __future__ import annotations

from messenger.app import create_app
from messenger.config import Settings
from messenger.container import Container
from messenger.logs import configure_logging
from messenger.serving import end_with_parent

end_with_parent()
_settings = Settings.from_env()
configure_logging(_settings.log_level, _settings.log_format)
app = create_app(Container(_settings))
