"""Rules about preprocessing."""
