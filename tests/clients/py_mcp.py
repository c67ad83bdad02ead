"""Drives `mcp`, the Python SDK; usage in README.md."""

from contextlib import asynccontextmanager

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client

from driver import command_line, drive


class Memory:
    """Keeps the token for as long as the client runs."""

    tokens = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens


def credentials(options):
    if options.client is None:
        return None
    return ClientCredentialsOAuthProvider(
        server_url=options.url,
        storage=Memory(),
        client_id=options.client["id"],
        client_secret=options.client["secret"],
        scope=options.client["scope"],
        issuer=options.client["issuer"],
    )


@asynccontextmanager
async def open_client(options):
    if options.stdio:
        command, *args = options.command
        server = StdioServerParameters(command=command, args=args, env=options.env)
        async with Client(server, mode=options.mode) as client:
            yield client
    else:
        async with (
            httpx2.AsyncClient(headers=options.header, timeout=options.timeout, auth=credentials(options)) as http,
            Client(streamable_http_client(options.url, http_client=http), mode=options.mode) as client,
        ):
            yield client


drive("py-mcp", command_line(), open_client, lambda client, name, args: client.call_tool(name, args))
