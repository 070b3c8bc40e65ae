"""Parts of the benchmark of groups."""
