"""A server with files. It knows nothing about keys, tokens and limits."""

import os

try:
    from mcp.server.mcpserver import MCPServer as Server  # mcp 2
except ImportError:
    from mcp.server.fastmcp import FastMCP as Server  # mcp 1

FILES = {"notes.txt": "Buy bread.", "plan.txt": "Nothing is planned."}

server = Server("chapter6-server")


@server.tool()
def hello_world() -> str:
    """Greets the world."""
    return "Hello, world!"


@server.tool()
def echo(message: str) -> str:
    """Returns the message."""
    return message


@server.tool()
def list_files() -> str:
    """Lists the files."""
    return ", ".join(sorted(FILES))


@server.tool()
def get_file(name: str) -> str:
    """Returns a file."""
    return FILES.get(name, "There is no such file.")


@server.tool()
def delete_file(name: str) -> str:
    """Deletes a file."""
    return "Gone." if FILES.pop(name, None) else "There is no such file."


@server.tool()
def get_caller() -> str:
    """Names the caller, as Witgate has established it."""
    return os.environ.get("MCP_CALLER", "nobody")


if __name__ == "__main__":
    server.run("stdio")
