"""Tool calls that need a person: asked, decided, resumed."""
