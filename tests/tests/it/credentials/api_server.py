"""An MCP server of the older era that calls an API, and reads a token file."""

import json
import os
import sys
import urllib.error
import urllib.request


def get_weather():
    try:
        with urllib.request.urlopen(os.environ["WEATHER_API"] + "/forecast?city=Paris") as answer:
            return {"status": answer.status}
    except urllib.error.HTTPError as refusal:
        return {"status": refusal.code, "body": json.loads(refusal.read())}


def read_token():
    try:
        with open(os.environ["HUB_TOKEN_FILE"]) as file:
            return {"token": file.read(), "mode": oct(os.fstat(file.fileno()).st_mode & 0o777)}
    except FileNotFoundError:
        return {"token": None}


TOOLS = {"get_weather": get_weather, "read_token": read_token, "environ": lambda: dict(os.environ)}

for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    answer = {"jsonrpc": "2.0", "id": message["id"]}
    if message["method"] == "initialize":
        answer["result"] = {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "api", "version": "1"},
        }
    elif message["method"] == "tools/list":
        schema = {"type": "object"}
        answer["result"] = {"tools": [{"name": name, "inputSchema": schema} for name in TOOLS]}
    elif message["method"] == "tools/call":
        text = json.dumps(TOOLS[message["params"]["name"]]())
        answer["result"] = {"content": [{"type": "text", "text": text}]}
    else:
        answer["error"] = {"code": -32601, "message": "Method not found"}
    print(json.dumps(answer), flush=True)
