"""The pool of MCP connections: one supervised connection per server."""
