"""What is measured beside the host: the obvious handlers, and the floors."""
