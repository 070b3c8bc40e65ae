"""Stacks as they were sampled, the layers that they stand in, and a picture of them."""
