"""What every group of calls has."""

from __future__ import annotations

from messenger.client.http import Http


class Calls:
    """Calls over one `Http`."""

    _http: Http
