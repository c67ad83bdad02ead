"""A client of the notes: `demo.py` and `shell.py` use it, and so can other programs.

It logs in by OAuth, as any MCP client does, and renews its tokens by itself. It needs the packages `mcp` (version 2)
and `httpx2`.
"""

import http.cookiejar
import html
import http.server
import json
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
import webbrowser
from contextlib import AsyncExitStack

import anyio
import httpx2
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata

REDIRECT = "http://127.0.0.1:3031/callback"


class Memory:
    """Keeps tokens for as long as the client runs."""

    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Browser:
    """Lets a person log in with their browser, which comes back to a port of this machine."""

    def log_in(self, url):
        answered = []

        class Landing(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path.startswith("/callback?"):
                    answered.append(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"Done. You can close this page.")

            def log_message(self, *_):
                pass

        with http.server.HTTPServer(("127.0.0.1", 3031), Landing) as landing:
            print(f"Log in at {url}")
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
            while not answered:
                landing.handle_request()
        return answered[0]


class Script:
    """Logs in with a password, without a person: it goes through the pages as a browser does."""

    def __init__(self, name, password):
        self.name, self.password = name, password

    def log_in(self, url):
        site = "{0.scheme}://{0.netloc}/".format(urllib.parse.urlsplit(url))
        browser = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()), WithinSite(site)
        )
        try:
            page = browser.open(url).read().decode()
            for _ in range(3):
                action = re.search('<form method="post" action="(.*?)"', page)[1]
                fields = dict(re.findall('<input type="hidden" name="(.*?)" value="(.*?)">', page))
                fields = {name: html.unescape(value) for name, value in fields.items()}
                is_login = action == "/login"
                fields |= {"name": self.name, "password": self.password} if is_login else {"decision": "allow"}
                body = urllib.parse.urlencode(fields).encode()
                page = browser.open(urllib.parse.urljoin(site, action), body).read().decode()
        except Away as away:
            return str(away)
        except urllib.error.HTTPError as error:
            raise PermissionError(f"the login of {self.name} was refused ({error.code})") from error
        raise PermissionError(f"the login of {self.name} does not end")


class Away(Exception):
    """The redirect that leads to the client."""


class WithinSite(urllib.request.HTTPRedirectHandler):
    """Follows redirects within one site, and stops at one that leads away."""

    def __init__(self, site):
        self.site = site

    def redirect_request(self, request, body, code, message, headers, url):
        if not url.startswith(self.site):
            raise Away(url)
        return super().redirect_request(request, body, code, message, headers, url)


class NotesClient:
    """A client of the notes: of a person, of a holder of a key, or of nobody."""

    def __init__(self, url, person=None, key=None):
        self.url, self.person, self.key = url, person, key

    async def __aenter__(self):
        self.stack = AsyncExitStack()
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        auth = self._oauth() if self.person else None
        http_client = await self.stack.enter_async_context(httpx2.AsyncClient(headers=headers, auth=auth, timeout=60))
        transport = streamable_http_client(self.url, http_client=http_client)
        self.session = await self.stack.enter_async_context(Client(transport))
        return self

    async def __aexit__(self, *error):
        return await self.stack.__aexit__(*error)

    def _oauth(self):
        answer = {}

        async def redirect(url):
            place = await anyio.to_thread.run_sync(self.person.log_in, url)
            answer.update(urllib.parse.parse_qsl(urllib.parse.urlsplit(place).query))

        async def callback():
            return AuthorizationCodeResult(**answer)

        metadata = OAuthClientMetadata(
            client_name="Notes", redirect_uris=[REDIRECT], scope="notes:read notes:write offline_access"
        )
        return OAuthClientProvider(self.url, metadata, Memory(), redirect, callback)

    async def tools(self):
        """The names of the tools that the caller may call."""
        return sorted(tool.name for tool in (await self.session.list_tools(cache_mode="bypass")).tools)

    async def call(self, tool, **arguments):
        """Calls a tool. Returns its data or its text."""
        result = await self.session.call_tool(tool, arguments)
        text = result.content[0].text
        if result.is_error:
            raise PermissionError(text)
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text

    async def read(self, uri):
        """Reads a resource."""
        return json.loads((await self.session.read_resource(uri, cache_mode="bypass")).contents[0].text)

    async def get_user_profile(self):
        return await self.call("get_user_profile")

    async def create_secure_note(self, title, content):
        return await self.call("create_secure_note", title=title, content=content)

    async def create_api_key(self, name, scopes, expires="7d"):
        return (await self.call("create_api_key", name=name, scopes=scopes, expires=expires))["key"]


def login_with_password(url, name, password):
    """A client that logs in with a password when a call needs it."""
    return NotesClient(url, Script(name, password))
