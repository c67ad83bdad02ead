"""A small server on the SDK of whatever Python runs it, over the transport that is named: `stdio`, or `sse` at a port."""

import sys

try:
    from mcp.server.mcpserver import MCPServer as Server  # mcp 2
except ImportError:
    from mcp.server.fastmcp import FastMCP as Server  # mcp 1

transport, port = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
server = Server("sdk")


@server.tool()
def echo(message: str = "nothing") -> str:
    return f"Echo: {message}"


if transport == "stdio":
    server.run("stdio")
else:
    import uvicorn

    uvicorn.run(server.sse_app(), host="127.0.0.1", port=port, log_level="warning")
