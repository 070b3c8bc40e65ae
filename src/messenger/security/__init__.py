"""Passwords, tokens, keys and the credentials of calls; no part of it knows a database."""
