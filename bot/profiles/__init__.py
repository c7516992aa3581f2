"""Profiles at work: the state of a turn, rules that look at it, inbox items, and prompt segments."""
