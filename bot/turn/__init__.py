"""One turn of an agent, from the person's message to the recorded reply."""
