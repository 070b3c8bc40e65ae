"""Passwords, tokens, keys and TURN credentials; independent of the database."""
