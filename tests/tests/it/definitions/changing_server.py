"""An MCP server of 2025-11-25 whose tools come from the file DEFINITIONS, which it reads at its start.

The file has a list of listings, each a list of pages, each a list of tools. Each `tools/list` without a cursor takes
the next listing in turn. If CIRCLE is set, the last page leads to itself.
"""
import json
import os
import sys

with open(os.environ["DEFINITIONS"]) as file:
    LISTINGS = json.load(file)
taken = 0


def listed(cursor):
    global taken
    if cursor is None:
        listing, page = taken % len(LISTINGS), 0
        taken += 1
    else:
        listing, page = map(int, cursor.split())
    pages = LISTINGS[listing]
    result = {"tools": pages[page]}
    if page + 1 < len(pages):
        result["nextCursor"] = f"{listing} {page + 1}"
    elif os.environ.get("CIRCLE"):
        result["nextCursor"] = f"{listing} {page}"
    return result


def answer(method, params):
    if method == "initialize":
        return {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "changing", "version": "1"},
        }
    if method == "tools/list":
        return listed(params.get("cursor"))
    if method == "tools/call":
        return {"content": [{"type": "text", "text": f"called {params['name']}"}]}
    return None


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        continue
    result = answer(message["method"], message.get("params") or {})
    reply = {"jsonrpc": "2.0", "id": message["id"]}
    if result is None:
        reply["error"] = {"code": -32601, "message": "Method not found"}
    else:
        reply["result"] = result
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()
