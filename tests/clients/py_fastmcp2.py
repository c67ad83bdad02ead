"""Drives version 2 of `fastmcp`'s client, on version 1 of `mcp`; usage in README.md."""

from contextlib import asynccontextmanager

from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport

from driver import command_line, drive


@asynccontextmanager
async def open_client(options):
    transport = StreamableHttpTransport(options.url, headers=options.header)
    async with Client(transport, timeout=options.timeout / 2) as client:
        client.protocol_version = client.initialize_result.protocolVersion
        yield client


drive("py-fastmcp2", command_line(), open_client, lambda client, name, args: client.call_tool_mcp(name, args))
