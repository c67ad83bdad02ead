"""As `login.py`, for the Python clients of the 2025 era: `mcp` 1.x and `fastmcp` 2.x."""

import asyncio
import os
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import webbrowser
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

# What a library keeps is gone afterwards.
os.environ["HOME"] = tempfile.mkdtemp(prefix="witgate-client-")

sys.path.insert(0, str(Path(__file__).parent.parent / "clients"))

from driver import command_line, drive
from person import log_in

REDIRECT = "http://localhost:3030/callback"


class Memory:
    """Keeps what the client remembers for as long as it runs."""

    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


@asynccontextmanager
async def open_mcp(options):
    import httpx
    from mcp import ClientSession
    from mcp.client.auth import OAuthClientProvider
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared.auth import OAuthClientMetadata

    answer = {}

    async def redirect(url):
        person = options.client
        place, _ = await asyncio.to_thread(log_in, url, person["name"], person["password"])
        answer.update(urllib.parse.parse_qsl(urllib.parse.urlsplit(place).query))

    async def callback():
        return answer["code"], answer.get("state")

    metadata = OAuthClientMetadata(client_name="witgate-login", redirect_uris=[REDIRECT])
    auth = OAuthClientProvider(options.url, metadata, Memory(), redirect, callback)
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

    def browse(url, *_, **__):
        def go():
            place, _ = log_in(url, options.client["name"], options.client["password"])
            # The client opens the browser before it listens.
            for _ in range(600):
                try:
                    return urllib.request.urlopen(place).read()
                except urllib.error.URLError:
                    time.sleep(0.1)

        threading.Thread(target=go, daemon=True).start()
        return True

    webbrowser.open = browse
    async with Client(options.url, auth="oauth") as client:
        client.protocol_version = client.initialize_result.protocolVersion
        yield client


options = command_line()
if options.client["kind"] == "mcp":
    drive("py-mcp1", options, open_mcp, lambda client, name, args: client.call_tool(name, args))
else:
    drive("py-fastmcp2", options, open_fastmcp, lambda client, name, args: client.call_tool_mcp(name, args))
