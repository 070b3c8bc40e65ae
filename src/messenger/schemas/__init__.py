"""Structs of the API: drafts and patches are request bodies, views are responses."""
