"""File storage: a local folder or an object store, selected by URL."""
