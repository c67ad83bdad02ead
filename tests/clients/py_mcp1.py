"""Drives version 1 of `mcp`, the Python SDK of the 2025 era; usage in README.md."""

from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from driver import command_line, drive


@asynccontextmanager
async def open_client(options):
    async with (
        httpx.AsyncClient(headers=options.header, timeout=options.timeout) as http,
        streamable_http_client(options.url, http_client=http) as (read, write, _),
        ClientSession(read, write, read_timeout_seconds=timedelta(seconds=options.timeout / 2)) as session,
    ):
        opened = await session.initialize()
        session.protocol_version = opened.protocolVersion
        yield session


drive("py-mcp1", command_line(), open_client, lambda client, name, args: client.call_tool(name, args))
