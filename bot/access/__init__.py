"""Who may talk to a bot: rules, grants, requests, and the gate."""
