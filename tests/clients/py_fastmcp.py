"""Drives `fastmcp`'s client; usage in README.md."""

from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport

from driver import command_line, drive


def open_client(options):
    if options.stdio:
        command, *args = options.command
        # Its default keeps the child alive after the client has parted.
        transport = StdioTransport(command, args, env=options.env, keep_alive=False)
    else:
        transport = StreamableHttpTransport(options.url, headers=options.header)
    return Client(transport, mode=options.mode)


drive("py-fastmcp", command_line(), open_client, lambda client, name, args: client.call_tool_mcp(name, args))
