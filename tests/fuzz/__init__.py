"""Random integer graphs, and the run that compares every executor on them."""
