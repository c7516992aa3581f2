"""What a bot can call: one table of methods, each a function of a call."""
