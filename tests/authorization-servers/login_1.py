"""As `login.py`, for the Python clients of the 2025 era: `mcp` 1.x and `fastmcp` 2.x."""

import os
import tempfile
from contextlib import asynccontextmanager
from datetime import timedelta

# What a library keeps is gone afterwards.
os.environ["HOME"] = tempfile.mkdtemp(prefix="witgate-client-")

from python_login import REDIRECT, Answer, Memory, open_pages_as

from driver import command_line, drive


@asynccontextmanager
async def open_mcp(options):
    import httpx
    from mcp import ClientSession
    from mcp.client.auth import OAuthClientProvider
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared.auth import OAuthClientMetadata

    answer = Answer(options.client)

    async def callback():
        return answer["code"], answer.get("state")

    metadata = OAuthClientMetadata(client_name="witgate-login", redirect_uris=[REDIRECT])
    auth = OAuthClientProvider(options.url, metadata, Memory(), answer.redirect, callback)
    async with (
        httpx.AsyncClient(timeout=options.timeout, auth=auth) as http,
        streamable_http_client(options.url, http_client=http) as (read, write, _),
        ClientSession(read, write, read_timeout_seconds=timedelta(seconds=options.timeout / 2)) as session,
    ):
        opened = await session.initialize()
        session.protocol_version = opened.protocolVersion
        yield session


@asynccontextmanager
async def open_fastmcp(options):
    from fastmcp import Client

    open_pages_as(options.client)
    async with Client(options.url, auth="oauth") as client:
        client.protocol_version = client.initialize_result.protocolVersion
        yield client


options = command_line()
if options.client["kind"] == "mcp":
    drive("py-mcp1", options, open_mcp, lambda client, name, args: client.call_tool(name, args))
else:
    drive("py-fastmcp2", options, open_fastmcp, lambda client, name, args: client.call_tool_mcp(name, args))
