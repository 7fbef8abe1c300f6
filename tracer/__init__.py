"""A running program -> Run -> findings: hooks around an unmodified script, its record, and what the record shows."""
