"""A calculator. It knows nothing about keys and tokens: what it gets are numbers."""

try:
    from mcp.server.mcpserver import MCPServer as Server  # mcp 2
except ImportError:
    from mcp.server.fastmcp import FastMCP as Server  # mcp 1

server = Server("calculator")


@server.tool()
def add(a: float, b: float) -> float:
    """Adds two numbers."""
    return a + b


@server.tool()
def multiply(a: float, b: float) -> float:
    """Multiplies two numbers."""
    return a * b


@server.tool()
def divide(a: float, b: float) -> float:
    """Divides one number by another."""
    return a / b


if __name__ == "__main__":
    server.run("stdio")
