"""Source text -> FileIR -> Program -> findings. Never imports a concrete rule: it is handed them."""
