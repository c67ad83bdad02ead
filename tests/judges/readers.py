"""Reads URIs, names and numbers as servers in Python do: by pydantic's AnyUrl, which the official SDK brings along, by
RFC 3986 itself, by unicodedata and by decimal.

Every line on stdin is a JSON object with one member, `uri`, `name` or `number`. For each, one line of JSON on stdout:
what is read, or null where it is refused.
"""

import json
import re
import sys
import unicodedata
from decimal import Decimal, getcontext

from pydantic import AnyUrl, TypeAdapter, ValidationError

URL = TypeAdapter(AnyUrl)
getcontext().prec = 2000
# RFC 3986, appendix B.
PARTS = re.compile(r"^(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?$", re.ASCII)
UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


def reading(normal, scheme, host, path, query, fragment):
    return [normal, scheme, (host or "").strip("[]"), path or "", query or "", fragment or ""]


def by_pydantic(uri):
    try:
        url = URL.validate_python(uri)
    except ValidationError:
        return None
    return reading(str(url), url.scheme, url.host, url.path, url.query, url.fragment)


def escapes(text):
    """Section 6.2.2.1 and 6.2.2.2."""

    def one(match):
        char = chr(int(match[1], 16))
        return char if char in UNRESERVED else match[0].upper()

    return re.sub(r"%([0-9A-Fa-f]{2})", one, text)


def without_dots(path):
    """Section 5.2.4."""
    rest, out = path, []
    while rest:
        if rest.startswith("../"):
            rest = rest[3:]
        elif rest.startswith("./"):
            rest = rest[2:]
        elif rest.startswith("/./"):
            rest = rest[2:]
        elif rest == "/.":
            rest = "/"
        elif rest.startswith("/../"):
            rest = rest[3:]
            out[-1:] = []
        elif rest == "/..":
            rest = "/"
            out[-1:] = []
        elif rest in (".", ".."):
            rest = ""
        else:
            end = rest.find("/", 1)
            end = len(rest) if end < 0 else end
            out.append(rest[:end])
            rest = rest[end:]
    return "".join(out)


def by_rfc(uri):
    match = PARTS.match(uri)
    if not match or match[1] is None:
        return None
    scheme, authority, path, query, fragment = match.groups()
    scheme, path = scheme.lower(), without_dots(escapes(path))
    query, fragment = (text if text is None else escapes(text) for text in (query, fragment))
    host = None
    normal = scheme + ":"
    if authority is not None:
        user, at, rest = authority.rpartition("@")
        host, port = re.fullmatch(r"(.*?)((?::[0-9]*)?)", rest).groups()
        host = escapes(host)
        host = re.sub(r"[A-Z]|%[0-9A-F]{2}", lambda found: found[0] if found[0][0] == "%" else found[0].lower(), host)
        normal += "//" + escapes(user) + at + host + port
    normal += path
    normal += "" if query is None else "?" + query
    normal += "" if fragment is None else "#" + fragment
    return reading(normal, scheme, host, path, query, fragment)


def number(text):
    """As an integer or a double, and whether the decimal is the one that the double is written as, or the other one of
    the two that are as short and as near."""
    value, decimal = json.loads(text), Decimal(text)
    if isinstance(value, int):
        return [repr(float(value)), decimal == int(float(value))]
    shortest = Decimal(repr(value))
    return [repr(value), decimal == shortest or decimal + shortest == 2 * Decimal(value)]


for line in sys.stdin:
    asked = json.loads(line)
    if "uri" in asked:
        said = {"pydantic": by_pydantic(asked["uri"]), "rfc": by_rfc(asked["uri"])}
    elif "name" in asked:
        said = unicodedata.normalize("NFC", asked["name"])
    else:
        said = number(asked["number"])
    print(json.dumps(said))
