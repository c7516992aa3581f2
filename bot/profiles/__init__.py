"""Profiles at work: the state of a turn, its rules, its inbox, and the prompt from segments."""
