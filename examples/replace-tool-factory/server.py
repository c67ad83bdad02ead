"""A server whose tools call APIs. Each API wants a credential in another form."""

import base64
import os
import urllib.request

try:
    from mcp.server.mcpserver import MCPServer as Server  # mcp 2
except ImportError:
    from mcp.server.fastmcp import FastMCP as Server  # mcp 1

server = Server("tool-factory-server")


def ask(api, path, **headers):
    """Asks an API, whose URL a variable may name."""
    origin = os.environ.get(f"{api}_API_URL", f"https://{api.lower()}.example.com")
    request = urllib.request.Request(origin + path, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode() or "The API has answered."


@server.tool()
def get_weather(city: str) -> str:
    """Tells the weather of a city."""
    return ask("WEATHER", f"/now?city={city}", **{"X-API-Key": os.environ["WEATHER_API_KEY"]})


@server.tool()
def list_tickets() -> str:
    """Lists the open tickets."""
    return ask("TICKETS", "/open", Authorization="Bearer " + os.environ["BEARER_TOKEN"])


@server.tool()
def get_report() -> str:
    """Returns the last report."""
    pair = f"{os.environ['API_USERNAME']}:{os.environ['API_PASSWORD']}"
    return ask("REPORTS", "/last", Authorization="Basic " + base64.b64encode(pair.encode()).decode())


@server.tool()
def list_settings() -> str:
    """Lists the names of the variables that this server has got."""
    return ", ".join(sorted(os.environ))


if __name__ == "__main__":
    server.run("stdio")
