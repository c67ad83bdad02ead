"""An MCP server of 2026-07-28 and before that behaves as its tools are called.

STUBBORN in the environment: it ignores SIGTERM and the end of its input. PIDS: a file to which it
adds its process id and that of a process that it has started. ESCAPES: that one leaves its process group.
"""
import json
import os
import signal
import subprocess
import sys
import threading
import time

MODERN = "2026-07-28"
STUBBORN = bool(os.environ.get("STUBBORN"))
lock = threading.Lock()

if STUBBORN:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
# What it has started has the same group, and inherits that the signal is ignored.
grandchild = subprocess.Popen(["sleep", "1000"], start_new_session=bool(os.environ.get("ESCAPES")))
if os.environ.get("PIDS"):
    with open(os.environ["PIDS"], "a") as file:
        file.write(f"{os.getpid()} {grandchild.pid}\n")


def send(message):
    with lock:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def text(id, value):
    send({"id": id, "result": {"resultType": "complete", "content": [{"type": "text", "text": json.dumps(value)}]}})


def slow(id, seconds):
    time.sleep(seconds)
    text(id, "done")


def call(id, name, arguments):
    if name == "pids":
        text(id, [os.getpid(), grandchild.pid])
    elif name == "slow":
        open(os.environ["PIDS"] + ".slow", "w").close()
        threading.Thread(target=slow, args=(id, arguments["seconds"]), daemon=True).start()
    elif name == "orphan":
        # Its shell ends before it, so that it is left to whoever takes orphans.
        text(id, int(subprocess.check_output(["sh", "-c", "sleep 0.2 >/dev/null & echo $!"])))
    elif name == "crash":
        os._exit(3)
    elif name == "hang":
        time.sleep(1000)
    elif name == "never":
        pass
    elif name == "garbage":
        for _ in range(100):
            print("this is no JSON", flush=True)
    elif name == "bytes":
        for _ in range(100):
            sys.stdout.buffer.write(b"\xff\xfe\x00\x01\n")
        sys.stdout.buffer.flush()
    elif name == "huge":
        sys.stdout.write('{"jsonrpc":"2.0","id":%d,"result":{"x":"' % id)
        for _ in range(64):
            sys.stdout.write("x" * (1 << 20))
        sys.stdout.write('"}}\n')
        sys.stdout.flush()
    elif name == "unasked":
        for step in range(100_000):
            send({"id": 900_000 + step, "result": {}})
    else:
        send({"id": id, "error": {"code": -32602, "message": "Unknown tool"}})


def request(message):
    id, method, params = message["id"], message["method"], message.get("params", {})
    if method == "initialize":
        info = {"name": "faulty", "version": "1"}
        send({"id": id, "result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}})
    elif method == "server/discover":
        send({"id": id, "result": {"resultType": "complete", "supportedVersions": [MODERN],
                                   "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "public"}})
    elif method == "tools/call":
        call(id, params["name"], params.get("arguments", {}))
    elif method == "ping":
        send({"id": id, "result": {}})
    else:
        send({"id": id, "error": {"code": -32601, "message": "Method not found"}})


for line in sys.stdin:
    message = json.loads(line)
    if "method" in message and "id" in message:
        request(message)
while STUBBORN:
    time.sleep(1)
