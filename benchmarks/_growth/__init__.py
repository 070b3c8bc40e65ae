"""Growth: a data set of any size from one seed, and the cost of a request in it."""
