"""Base class of the call groups."""

from __future__ import annotations

from messenger.client.http import Http


class Calls:
    """A group of API calls that share one HTTP connection pool and one pair of tokens."""

    _http: Http
