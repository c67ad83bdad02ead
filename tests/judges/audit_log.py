"""Verifies an audit log of Witgate from docs/audit.md alone: the chain, the tree and the checkpoints.

Usage: audit_log.py DIRECTORY PUBLIC-KEY-FILE [PROOF]

Prints a JSON object with the number of lines and of checkpoints, and exits with 1 at the first fault. It needs the
standard library, and `cryptography` for Ed25519.
"""

import base64
import gzip
import hashlib
import json
import pathlib
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Fault(Exception):
    pass


def leaf_hash(line):
    return hashlib.sha256(b"\x00" + line).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def push(subtrees, leaf):
    """Appends a leaf to the complete subtrees, which are pairs of size and hash, the largest first."""
    size, value = 1, leaf
    while subtrees and subtrees[-1][0] == size:
        value = node_hash(subtrees.pop()[1], value)
        size *= 2
    subtrees.append((size, value))


def root(subtrees):
    if not subtrees:
        return hashlib.sha256(b"").digest()
    value = subtrees[-1][1]
    for _, left in reversed(subtrees[:-1]):
        value = node_hash(left, value)
    return value


def subtrees_of(size, hashes):
    sizes = [1 << bit for bit in range(63, -1, -1) if size >> bit & 1]
    if len(sizes) != len(hashes):
        raise Fault("a header has the wrong number of hashes")
    return list(zip(sizes, (bytes.fromhex(value) for value in hashes)))


def read_keys(path):
    keys = {}
    for line in pathlib.Path(path).read_text().splitlines():
        name, ident, encoded = line.split("+", 2)
        key = base64.b64decode(encoded, validate=True)
        expected = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
        if key[0] != 1 or ident != expected.hex():
            raise Fault("the public key is damaged")
        keys[name, expected] = Ed25519PublicKey.from_public_bytes(key[1:])
    return keys


def open_checkpoint(note, keys):
    body, signatures = note.split("\n\n", 1)
    origin, size, encoded = body.split("\n")[:3]
    for line in signatures.splitlines():
        mark, name, signed = line.split(" ")
        signed = base64.b64decode(signed, validate=True)
        key = keys.get((name, signed[:4]))
        if mark == "\u2014" and name == origin and key:
            try:
                key.verify(signed[4:], (body + "\n").encode())
            except InvalidSignature:
                raise Fault(f"the checkpoint of {size} lines has a wrong signature") from None
            return int(size), base64.b64decode(encoded, validate=True)
    raise Fault(f"the checkpoint of {size} lines is not signed by a known key")


def read_checkpoints(directory, keys):
    roots = {}
    count = 0
    last = 0
    for path in sorted(directory.glob("*.checkpoints")):
        parts = path.read_text().split("\n\n")[:-1]
        for body, signatures in zip(parts[::2], parts[1::2]):
            size, value = open_checkpoint(f"{body}\n\n{signatures}\n", keys)
            if size < last:
                raise Fault(f"the checkpoint of {size} lines comes after one of {last}")
            last = size
            if roots.setdefault(size, value) != value:
                raise Fault(f"two checkpoints of {size} lines differ")
            count += 1
    return roots, count


def segments(directory):
    found = {path.name[:20]: path for path in sorted(directory.glob("*.jsonl.gz"))}
    found.update({path.name[:20]: path for path in directory.glob("*.jsonl")})
    return [found[name] for name in sorted(found)]


def verify(directory, keys):
    roots, checkpoints = read_checkpoints(directory, keys)
    prev, number, subtrees, first = bytes(32), 0, [], None
    claimed, below, signed, last_first = 0, 0, 0, 0
    for path in segments(directory):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = data.split(b"\n")
        if lines.pop() != b"":
            raise Fault(f"{path.name} has an incomplete line at its end")
        for place, line in enumerate(lines):
            entry = json.loads(line)
            if place == 0:
                tree = subtrees_of(entry["seq"], entry["tree"])
                if first is None:
                    first = number = entry["seq"]
                    prev, subtrees = bytes.fromhex(entry["prev"]), tree
                if entry["kind"] != "segment" or tree != subtrees or int(path.name[:20]) != entry["seq"]:
                    raise Fault(f"{path.name} does not continue the lines before it")
                last_first = entry["seq"]
            if entry["seq"] != number or entry["prev"] != prev.hex():
                raise Fault(f"line {number} does not continue the chain")
            if entry["kind"] == "retention":
                claimed = max(claimed, entry["below"])
            prev = leaf_hash(line)
            push(subtrees, prev)
            number += 1
            if number in roots:
                if roots[number] != root(subtrees):
                    raise Fault(f"the first {number} lines are not those of their checkpoint")
                below, signed = claimed, number
    if any(size > number for size in roots):
        raise Fault(f"a checkpoint has {max(roots)} lines, and there are {number}")
    if signed < last_first:
        raise Fault("no checkpoint signs the complete segments")
    if (first or 0) > below:
        raise Fault("the first lines are missing")
    return {"first": first, "lines": number - (first or 0), "checkpoints": checkpoints}


def check_proof(path, keys):
    """Checks a proof by the algorithm of RFC 9162, section 2.1.3.2."""
    head, note = pathlib.Path(path).read_text().split("\n\n", 1)
    title, extra, index, *hashes = head.split("\n")
    line = base64.b64decode(extra.removeprefix("extra "), validate=True)
    at = int(index.removeprefix("index "))
    size, expected = open_checkpoint(note, keys)
    if title != "c2sp.org/tlog-proof@v1" or at >= size or json.loads(line)["seq"] != at:
        raise Fault("it is not a proof")
    value, last = leaf_hash(line), size - 1
    for sibling in (base64.b64decode(encoded, validate=True) for encoded in hashes):
        if last == 0:
            raise Fault("the path is too long")
        if at & 1 or at == last:
            value = node_hash(sibling, value)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        at, last = at >> 1, last >> 1
    if last or value != expected:
        raise Fault("the line is not in the tree")


def main():
    directory, key_file, *proofs = sys.argv[1:]
    keys = read_keys(key_file)
    try:
        result = verify(pathlib.Path(directory), keys)
        for proof in proofs:
            check_proof(proof, keys)
    except Fault as fault:
        print(json.dumps({"fault": str(fault)}))
        sys.exit(1)
    print(json.dumps(result | {"proofs": len(proofs)}))


main()
