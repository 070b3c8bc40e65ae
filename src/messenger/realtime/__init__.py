"""Realtime delivery in one process: sockets, waiting requests, presence."""
