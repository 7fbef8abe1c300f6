"""Rules about optimization."""
