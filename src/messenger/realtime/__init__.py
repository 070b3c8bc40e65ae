"""Realtime: sockets and waiting requests of one process, and how processes wake each other."""
