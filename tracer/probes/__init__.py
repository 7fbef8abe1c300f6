"""Experiments on a copy of the training: each runs in a forked child, of which nothing comes back but its answer."""
