"""Logins of a person with a Python client that knows only the URL: the common parts of `login.py` and `login_1.py`, whose
clients are in two environments. Only the standard library and the drivers of `../clients` are imported here."""

import asyncio
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import webbrowser
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "clients"))

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


def arrival(person, url):
    """The address at which the browser of a person arrives after the login."""
    place, _ = log_in(url, person["name"], person["password"])
    return place


class Answer(dict):
    """The answer that a person brings back from the browser to a client that asks for it."""

    def __init__(self, person):
        super().__init__()
        self.person = person

    async def redirect(self, url):
        place = await asyncio.to_thread(arrival, self.person, url)
        self.update(urllib.parse.parse_qsl(urllib.parse.urlsplit(place).query))


def open_pages_as(person):
    """Lets a person log in, in place of a browser, where a client opens one."""

    def browse(url, *_, **__):
        def go():
            place = arrival(person, url)
            # The client opens the browser before it listens.
            for _ in range(600):
                try:
                    return urllib.request.urlopen(place).read()
                except urllib.error.URLError:
                    time.sleep(0.1)

        threading.Thread(target=go, daemon=True).start()
        return True

    webbrowser.open = browse
