"""From an address to the agent that answers it."""
