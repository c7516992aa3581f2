"""The ways to an MCP server: stdio, streamable HTTP, SSE."""
