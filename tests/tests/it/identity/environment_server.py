"""An MCP server of the older era that tells by its environment whose it is, and its process."""

import json
import os
import sys

for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    answer = {"jsonrpc": "2.0", "id": message["id"]}
    if message["method"] == "initialize":
        answer["result"] = {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "env", "version": "1"},
        }
    elif message["method"] == "tools/call":
        told = {name: value for name, value in os.environ.items() if name.startswith("W_")}
        text = json.dumps({"told": told, "process": os.getpid()})
        answer["result"] = {"content": [{"type": "text", "text": text}]}
    else:
        answer["error"] = {"code": -32601, "message": "Method not found"}
    print(json.dumps(answer), flush=True)
