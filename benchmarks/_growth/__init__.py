"""Growth: a world of any size from one seed, and what a request costs in it."""
