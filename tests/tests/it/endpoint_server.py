"""A server with the names of another one, with pages, and with a question to its client. MCP over stdio, 2025 era."""

import json
import sys

TOOLS = ["echo", "add", "get_time", "ask"]


def say(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def text(text):
    return {"content": [{"type": "text", "text": text}]}


waiting = None
for line in sys.stdin:
    message = json.loads(line)
    number, method, params = message.get("id"), message.get("method"), message.get("params") or {}
    if method is None:
        # The answer to the question.
        say({"id": waiting, "result": text(json.dumps(number))})
    elif method == "initialize":
        say(
            {
                "id": number,
                "result": {
                    "protocolVersion": params["protocolVersion"],
                    "capabilities": {"tools": {}, "prompts": {}},
                    "serverInfo": {"name": "faulty", "version": "0"},
                },
            }
        )
    elif method == "tools/list":
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
        say({"id": number, "result": {"tools": tools}})
    elif method == "prompts/list":
        first = "cursor" not in params
        result = {"prompts": [{"name": "one" if first else "two"}]}
        say({"id": number, "result": {**result, "nextCursor": "2"} if first else result})
    elif method == "tools/call" and params["name"] == "ask":
        waiting = number
        say({"id": 1, "method": "roots/list"})
    elif method == "tools/call":
        say({"id": number, "result": text("faulty " + params["name"])})
    elif number is not None:
        say({"id": number, "error": {"code": -32601, "message": "no such method"}})
