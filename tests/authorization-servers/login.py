"""Lets a person log in with a Python client that knows only the URL: `--client={"kind": "mcp" | "fastmcp", "name": …,
"password": …}`; the rest as for the drivers of `../clients`."""

import asyncio
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import webbrowser
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

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
    from mcp import Client
    from mcp.client.auth import OAuthClientProvider
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

    answer = {}

    async def redirect(url):
        person = options.client
        place, _ = await asyncio.to_thread(log_in, url, person["name"], person["password"])
        answer.update(urllib.parse.parse_qsl(urllib.parse.urlsplit(place).query))

    async def callback():
        return AuthorizationCodeResult(**answer)

    metadata = OAuthClientMetadata(client_name="witgate-login", redirect_uris=[REDIRECT])
    auth = OAuthClientProvider(options.url, metadata, Memory(), redirect, callback)
    async with (
        httpx2.AsyncClient(timeout=options.timeout, auth=auth) as http,
        Client(streamable_http_client(options.url, http_client=http), mode=options.mode) as client,
    ):
        yield client


def open_fastmcp(options):
    from fastmcp import Client
    from fastmcp.client.auth import OAuth

    def browse(url):
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
    return Client(options.url, auth=OAuth(client_name="witgate-login"), mode=options.mode)


options = command_line()
if options.client["kind"] == "mcp":
    drive("py-mcp", options, open_mcp, lambda client, name, args: client.call_tool(name, args))
else:
    drive("py-fastmcp", options, open_fastmcp, lambda client, name, args: client.call_tool_mcp(name, args))
