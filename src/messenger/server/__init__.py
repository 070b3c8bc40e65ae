"""The server program: HTTP and WebSocket protocols, timeouts, memory limits, draining, workers."""
