"""Realtime: who is told that a stream has news."""
