"""A small MCP server that does what its tools are called, good and bad. Argument: the era."""
import json
import os
import subprocess
import sys
import time

ERA = sys.argv[1] if len(sys.argv) > 1 else "legacy"
MODERN = "2026-07-28"
cancelled = []
waiting = {}
later = []
jobs = []
initialized = 0


def send(message):
    if ERA == "textual" and "id" in message:
        message = {**message, "id": str(message["id"])}
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def result(id, value):
    send({"id": id, "result": value})


def text(id, value):
    result(id, {"content": [{"type": "text", "text": json.dumps(value)}]})


progressed = []


def call(message):
    id, params = message["id"], message["params"]
    name, arguments = params["name"], params.get("arguments", {})
    token = params.get("_meta", {}).get("progressToken")
    if name == "echo":
        text(id, message)
    elif name == "progress":
        for step in range(arguments["steps"]):
            send({"method": "notifications/progress", "params": {"progressToken": token, "progress": step}})
        result(id, {"content": []})
    elif name == "ask":
        waiting["srv-1"] = id
        send({"id": "srv-1", "method": "elicitation/create", "params": {"message": "your name?"}})
    elif name == "ask-later":
        # The call goes on; what it asks comes when `ask-now` says so.
        later.append(id)
        send({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1}})
    elif name == "ask-now":
        waiting["srv-2"] = id
        send({"id": "srv-2", "method": "elicitation/create", "params": {"message": "your name?"}})
    elif name == "ask-outside":
        result(id, {"content": []})
        send({"id": "srv-3", "method": "elicitation/create", "params": {"message": "your name?"}})
    elif name == "answer-late":
        result(later.pop(), {"content": []})
        result(id, {"content": []})
    elif name == "touch":
        send({"method": "notifications/resources/updated", "params": {"uri": arguments["uri"]}})
        send({"method": "notifications/tools/list_changed"})
        result(id, {"content": []})
    elif name.startswith("job-"):
        jobs.append({"taskId": f"task-{len(jobs)}", "status": "completed", "ttl": None,
                     "createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z"})
        result(id, {"task": jobs[-1]})
    elif name == "news":
        for job in jobs:
            send({"method": "notifications/tasks/status", "params": job})
        result(id, {"content": []})
    elif name == "crash":
        os._exit(3)
    elif name == "hang":
        time.sleep(1000)
    elif name == "never":
        pass
    elif name == "begin":
        send({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1}})
    elif name == "cancelled":
        text(id, cancelled)
    elif name == "progressed":
        text(id, progressed)
    elif name == "garbage":
        for _ in range(arguments.get("lines", 100)):
            print("this is no JSON", flush=True)
        text(id, os.getpid())
    elif name == "banner":
        print("server ready (debug)", flush=True)
        text(id, "well")
    elif name == "huge":
        sys.stdout.write('{"jsonrpc":"2.0","id":%d,"result":{"x":"' % id)
        for _ in range(17):
            sys.stdout.write("x" * (1 << 20))
        sys.stdout.write('"}}\n')
        sys.stdout.flush()
    elif name == "pid":
        text(id, os.getpid())
    elif name == "flood":
        for step in range(10_000_000):
            send({"method": "notifications/progress", "params": {"progressToken": token, "progress": step}})
    elif name == "unasked":
        for step in range(5000):
            send({"id": 900_000 + step, "result": {}})
    elif name == "environment":
        text(id, dict(os.environ))
    elif name == "grandchild":
        text(id, [os.getpid(), subprocess.Popen(["sleep", "1000"]).pid])
    elif name == "log":
        send({"method": "notifications/message", "params": {"level": "info", "data": "hello"}})
        result(id, {"content": []})
    elif name == "change":
        send({"method": "notifications/tools/list_changed"})
        for listen in [id for id, kind in waiting.items() if kind == "listen"]:
            meta = {"io.modelcontextprotocol/subscriptionId": listen}
            send({"method": "notifications/tools/list_changed", "params": {"_meta": meta}})
        result(id, {"content": []})
    elif name == "initialized":
        text(id, initialized)
    else:
        send({"id": id, "error": {"code": -32602, "message": "Unknown tool"}})


def request(message):
    id, method = message["id"], message["method"]
    meta = message.get("params", {}).get("_meta", {})
    modern = "io.modelcontextprotocol/protocolVersion" in meta
    if ERA == "dies" and method != "initialize":
        sys.exit(1)
    if ERA == "modern" and not modern:
        data = {"supported": [MODERN], "requested": message["params"].get("protocolVersion")}
        send({"id": id, "error": {"code": -32022, "message": "Unsupported protocol version", "data": data}})
    elif method == "initialize":
        result(id, {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}, "logging": {}},
                    "serverInfo": {"name": "small", "version": "1"}, "x-unknown": 1})
    elif method == "server/discover" and ERA not in ("legacy", "textual"):
        result(id, {"resultType": "complete", "supportedVersions": [MODERN], "capabilities": {"tools": {}},
                    "ttlMs": 0, "cacheScope": "public"})
    elif method == "subscriptions/listen":
        waiting[id] = "listen"
        tag = {"io.modelcontextprotocol/subscriptionId": id}
        send({"method": "notifications/subscriptions/acknowledged",
              "params": {"_meta": tag, "notifications": {"toolsListChanged": True}}})
    elif method == "tools/list":
        result(id, {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]})
    elif method == "resources/read":
        send({"id": id, "error": {"code": -32002, "message": "Resource not found"}})
    elif method == "tasks/list":
        result(id, {"tasks": jobs})
    elif method in ("tasks/get", "tasks/cancel"):
        result(id, next(job for job in jobs if job["taskId"] == message["params"]["taskId"]))
    elif method == "tasks/result":
        result(id, {"content": [{"type": "text", "text": "what the job has found"}]})
    elif method == "tools/call":
        call(message)
    elif method in ("ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"):
        result(id, {})
    else:
        send({"id": id, "error": {"code": -32601, "message": "Method not found"}})


for line in sys.stdin:
    message = json.loads(line)
    if "method" in message and "id" in message:
        request(message)
    elif message.get("method") == "notifications/cancelled":
        cancelled.append(message["params"]["requestId"])
    elif message.get("method") == "notifications/progress":
        progressed.append(message["params"]["message"])
    elif message.get("method") == "notifications/initialized":
        initialized += 1
    elif "id" in message and message["id"] in waiting:
        text(waiting.pop(message["id"]), message)
