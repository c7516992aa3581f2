"""From the inbox to an outcome: queues, access, routes."""
