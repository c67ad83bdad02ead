"""Lets a person log in with a Python client that knows only the URL: `--client={"kind": "mcp" | "fastmcp", "name": …,
"password": …}`; the rest as for the drivers of `../clients`."""

from contextlib import asynccontextmanager

import httpx2

from python_login import REDIRECT, Answer, Memory, open_pages_as

from driver import command_line, drive


@asynccontextmanager
async def open_mcp(options):
    from mcp import Client
    from mcp.client.auth import OAuthClientProvider
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

    answer = Answer(options.client)

    async def callback():
        return AuthorizationCodeResult(**answer)

    metadata = OAuthClientMetadata(client_name="witgate-login", redirect_uris=[REDIRECT])
    auth = OAuthClientProvider(options.url, metadata, Memory(), answer.redirect, callback)
    async with (
        httpx2.AsyncClient(timeout=options.timeout, auth=auth) as http,
        Client(streamable_http_client(options.url, http_client=http), mode=options.mode) as client,
    ):
        yield client


def open_fastmcp(options):
    from fastmcp import Client
    from fastmcp.client.auth import OAuth

    open_pages_as(options.client)
    return Client(options.url, auth=OAuth(client_name="witgate-login"), mode=options.mode)


options = command_line()
if options.client["kind"] == "mcp":
    drive("py-mcp", options, open_mcp, lambda client, name, args: client.call_tool(name, args))
else:
    drive("py-fastmcp", options, open_fastmcp, lambda client, name, args: client.call_tool_mcp(name, args))
