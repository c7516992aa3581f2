"""Who runs this host: where admins can be reached, and what they are told."""
