"""Where agents come from: file, environment, Redis, and how they combine."""
