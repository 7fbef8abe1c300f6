"""Where people and programs reach nnaudit; only here do concrete rules and engines meet."""
