"""A server for desktop clients. It knows nothing about keys: whoever starts it may call all of its tools."""

try:
    from mcp.server.mcpserver import MCPServer as Server  # mcp 2
except ImportError:
    from mcp.server.fastmcp import FastMCP as Server  # mcp 1

ANSWERS = {
    "weather": "It is raining, and it will go on raining.",
    "lunch": "There is soup.",
}

server = Server("instability-chatbot")


@server.tool()
def ask(question: str) -> str:
    """Answers a question."""
    for topic, answer in ANSWERS.items():
        if topic in question.lower():
            return answer
    return "Ask something else."


@server.tool()
def list_topics() -> str:
    """Lists what one can ask about."""
    return ", ".join(sorted(ANSWERS))


@server.tool()
def forget_everything() -> str:
    """Deletes all answers."""
    ANSWERS.clear()
    return "Gone."


if __name__ == "__main__":
    server.run("stdio")
