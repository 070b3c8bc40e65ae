"""Where bytes live: a folder or any object store, by URL."""
