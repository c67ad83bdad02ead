"""A server whose tools call APIs. It has no credential for them but one: Witgate adds the others."""

import hashlib
import hmac
import os
import urllib.request

try:
    from mcp.server.mcpserver import MCPServer as Server  # mcp 2
except ImportError:
    from mcp.server.fastmcp import FastMCP as Server  # mcp 1

server = Server("tool-factory-server")


def ask(api, path):
    """Asks an API at the address that Witgate has put into a variable."""
    with urllib.request.urlopen(os.environ[api] + path, timeout=10) as answer:
        return answer.read().decode() or "The API has answered."


@server.tool()
def get_weather(city: str) -> str:
    """Tells the weather of a city."""
    return ask("WEATHER_API", f"/now?city={city}")


@server.tool()
def list_tickets() -> str:
    """Lists the open tickets."""
    return ask("TICKETS_API", "/open")


@server.tool()
def get_report() -> str:
    """Returns the last report."""
    return ask("REPORTS_API", "/last")


@server.tool()
def list_repositories() -> str:
    """Lists the repositories of the account at GitHub."""
    return ask("GITHUB_API", "/user/repos")


@server.tool()
def get_token_state() -> str:
    """Tells whether there is a token for a library that reads it from a file."""
    return "There is one." if os.path.exists(os.environ["OWN_TOKEN_FILE"]) else "There is none."


@server.tool()
def get_map_link(place: str) -> str:
    """Makes a link to a map, which its server accepts because it is signed."""
    key = os.environ["MAPS_KEY"].encode()
    return f"https://maps.example.com/{place}?signature={hmac.new(key, place.encode(), hashlib.sha256).hexdigest()}"


@server.tool()
def list_settings() -> str:
    """Lists the names of the variables that this server has got."""
    return ", ".join(sorted(os.environ))


if __name__ == "__main__":
    server.run("stdio")
