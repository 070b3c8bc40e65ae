"""The HTTP kit that controllers use: requests, responses, problem documents, the fast path, sockets."""
