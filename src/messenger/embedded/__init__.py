"""The embedded PostgreSQL: binaries, data folder, process, memory."""
