"""The application for a server program: `uvicorn messenger.asgi:app`. The environment configures it."""

from __future__ import annotations

import sys

from uvicorn.config import STARTUP_FAILURE

from messenger.app import create_app
from messenger.config import Settings, SettingsError
from messenger.container import Container
from messenger.observability.logs import configure_logging
from messenger.serving import end_with_parent

end_with_parent()
try:
    _settings = Settings.from_env()
except SettingsError as error:
    sys.stderr.write(f"messenger: {error}\n")
    sys.exit(STARTUP_FAILURE)
configure_logging(_settings.log_level, _settings.log_format)
app = create_app(Container(_settings))
