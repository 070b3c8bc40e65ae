"""Parts of the benchmark of sending."""
