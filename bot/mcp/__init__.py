"""MCP servers: connected once, shared, watched; their tools made safe."""
