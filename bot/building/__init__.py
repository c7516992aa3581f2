"""Agents that change agents: the host's own tools, in the name of the person who asks."""
