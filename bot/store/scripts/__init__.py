"""The Lua scripts of the store: each one is a whole step of a line, done or not done."""
