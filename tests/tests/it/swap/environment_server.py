"""An MCP server of the older era that tells its environment, and can take its time."""

import json
import os
import sys
import time

TOKEN = os.environ.get("TOKEN", "none")
if "TOKEN_FILE" in os.environ:
    TOKEN = open(os.environ["TOKEN_FILE"]).read()
if "STARTS" in os.environ:
    with open(os.environ["STARTS"], "a") as starts:
        starts.write("started\n")

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
    elif message["method"] == "tools/list":
        schema = {"type": "object", "properties": {"seconds": {"type": "number"}}}
        answer["result"] = {"tools": [{"name": "tell", "inputSchema": schema}]}
    elif message["method"] == "tools/call":
        arguments = message["params"].get("arguments", {})
        if "mark" in arguments:
            open(arguments["mark"], "w").close()
        time.sleep(arguments.get("seconds", 0))
        answer["result"] = {"content": [{"type": "text", "text": TOKEN}]}
    else:
        answer["error"] = {"code": -32601, "message": "Method not found"}
    print(json.dumps(answer), flush=True)
