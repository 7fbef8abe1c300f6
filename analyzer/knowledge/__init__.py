"""What library calls mean, as data: tables by dotted path, and the few questions asked of them."""
