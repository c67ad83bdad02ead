"""A server with notes, each of which has an owner. It knows nothing about passwords, sessions and keys."""

import os
import sqlite3

try:
    from mcp.server.mcpserver import MCPServer as Server  # mcp 2
except ImportError:
    from mcp.server.fastmcp import FastMCP as Server  # mcp 1

server = Server("tutorial-server")


def notes():
    """The notes of everybody."""
    database = sqlite3.connect("notes.db", timeout=10)
    database.execute("CREATE TABLE IF NOT EXISTS notes (owner, title, content, PRIMARY KEY (owner, title))")
    return database


def owner():
    """The id of the caller, as Witgate has established it. One process serves one caller."""
    return os.environ["NOTE_OWNER"]


@server.tool()
def create_secure_note(title: str, content: str) -> str:
    """Keeps a note of the caller."""
    with notes() as database:
        database.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", (owner(), title, content))
    return f"Kept the note {title}."


@server.tool()
def list_notes() -> str:
    """Lists the titles of the caller's notes."""
    rows = notes().execute("SELECT title FROM notes WHERE owner = ? ORDER BY title", (owner(),))
    return ", ".join(title for (title,) in rows) or "There are none."


@server.tool()
def get_note(title: str) -> str:
    """Returns a note of the caller."""
    row = notes().execute("SELECT content FROM notes WHERE owner = ? AND title = ?", (owner(), title)).fetchone()
    return row[0] if row else "There is no such note."


if __name__ == "__main__":
    server.run("stdio")
