"""A witness of transparency logs, from the specifications C2SP tlog-witness and tlog-cosignature alone.

Usage: witness.py STATE-FILE NAME PUBLIC-KEY-FILE PORT

Serves `POST /log/add-checkpoint` on this machine (port 0: a free one), for the logs whose public keys are in the file, which is
read for each request. The state file has the private key and the last checkpoint of each log. Prints one line: the port,
and the public key of the witness. It needs the standard library, and `cryptography` for Ed25519.
"""

import base64
import hashlib
import http.server
import json
import os
import pathlib
import sys
import threading
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MOST_HASHES = 63


class Refusal(Exception):
    def __init__(self, status, body=""):
        super().__init__(status)
        self.status, self.body = status, body


def key_id(name, kind, key):
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:4]


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def is_consistent(old, new, old_root, new_root, proof):
    """The algorithm of RFC 9162, section 2.1.4.2."""
    if old == 0:
        return not proof
    if old == new:
        return not proof and old_root == new_root
    hashes = list(proof)
    if old & (old - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        return False
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = hashes.pop(0)
    for value in hashes:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(value, fr), node_hash(value, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, value)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == old_root and sr == new_root


def decimal(text):
    if not text.isascii() or not text.isdigit() or (text != "0" and text.startswith("0")):
        raise Refusal(400)
    return int(text)


def decoded(text):
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Refusal(400) from None


class Witness:
    def __init__(self, state, name, logs):
        self.path, self.name, self.logs = pathlib.Path(state), name, logs
        self.lock = threading.Lock()
        if self.path.exists():
            self.state = json.loads(self.path.read_text())
        else:
            key = Ed25519PrivateKey.generate().private_bytes_raw()
            self.state = {"key": key.hex(), "logs": {}}
            self.save()
        self.key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self.state["key"]))
        self.public = self.key.public_key().public_bytes_raw()
        self.id = key_id(name, 4, self.public)

    def save(self):
        new = self.path.with_suffix(".new")
        with open(new, "w") as file:
            file.write(json.dumps(self.state))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)

    def vkey(self):
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([4]) + self.public).decode()}"

    def log_keys(self, origin):
        keys = {}
        for line in pathlib.Path(self.logs).read_text().splitlines():
            name, ident, encoded = line.split("+", 2)
            key = base64.b64decode(encoded, validate=True)
            if name == origin and key[0] == 1 and ident == key_id(name, 1, key[1:]).hex():
                keys[bytes.fromhex(ident)] = Ed25519PublicKey.from_public_bytes(key[1:])
        if not keys:
            raise Refusal(404)
        return keys

    def check_signature(self, origin, body, signatures):
        keys = self.log_keys(origin)
        for line in signatures.splitlines():
            mark, name, signed = line.split(" ")
            signed = decoded(signed)
            if mark == "\u2014" and name == origin and signed[:4] in keys:
                try:
                    return keys[signed[:4]].verify(signed[4:], body.encode())
                except InvalidSignature:
                    continue
        raise Refusal(403)

    def add(self, request):
        try:
            head, body, signatures = request.split("\n\n")
            old, *proof = head.split("\n")
            body += "\n"
            origin, size, root = body.split("\n")[:3]
        except ValueError:
            raise Refusal(400) from None
        if not old.startswith("old ") or len(proof) > MOST_HASHES:
            raise Refusal(400)
        old, size, root = decimal(old.removeprefix("old ")), decimal(size), decoded(root)
        proof = [decoded(line) for line in proof]
        self.check_signature(origin, body, signatures)
        if old > size:
            raise Refusal(400)
        with self.lock:
            known = self.state["logs"].get(origin, {"size": 0, "root": hashlib.sha256(b"").hexdigest()})
            if old != known["size"] or (old == size and root.hex() != known["root"]):
                raise Refusal(409, f"{known['size']}\n")
            if not is_consistent(old, size, bytes.fromhex(known["root"]), root, proof):
                raise Refusal(422)
            self.state["logs"][origin] = {"size": size, "root": root.hex()}
            self.save()
        now = int(time.time())
        signed = self.key.sign(f"cosignature/v1\ntime {now}\n{body}".encode())
        line = base64.b64encode(self.id + now.to_bytes(8, "big") + signed).decode()
        return f"\u2014 {self.name} {line}\n"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = min(int(self.headers["Content-Length"]), 1 << 20)
        request = self.rfile.read(length).decode()
        try:
            if self.path != "/log/add-checkpoint":
                raise Refusal(404)
            status, body, kind = 200, self.server.witness.add(request), "text/plain"
        except Refusal as refusal:
            status, body = refusal.status, refusal.body
            kind = "text/x.tlog.size" if status == 409 else "text/plain"
        body = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    state, name, logs, port = sys.argv[1:]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    server.witness = Witness(state, name, logs)
    print(server.server_port, server.witness.vkey(), flush=True)
    server.serve_forever()


main()
