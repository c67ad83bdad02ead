"""Judges tokens by PyJWT, which the Python clients bring along.

The first line on stdin is one JSON object: jwks, algorithms, issuer, audience, leeway, now. Every further line is a
JSON string with a token. For each, one line on stdout: "yes", or "no" and the library's own name for why.
"""

import datetime
import json
import sys

import jwt
import jwt.api_jwt

terms = json.loads(sys.stdin.readline())
keys = jwt.PyJWKSet.from_dict(terms["jwks"]).keys


class Fixed(datetime.datetime):
    """The clock of the terms."""

    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(terms["now"], tz)


jwt.api_jwt.datetime = Fixed

FAMILIES = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "ES384": "EC", "EdDSA": "OKP"}
CURVES = {"ES256": "P-256", "ES384": "P-384"}


def candidates(header):
    """PyJWT leaves it to its users which key to take: the one that `kid` names, else those of the algorithm's type."""
    kid, alg = header.get("kid"), header.get("alg")
    fits = [key for key in keys if key.key_type == FAMILIES.get(alg) and (key._jwk_data.get("crv") == CURVES.get(alg, key._jwk_data.get("crv")))]
    return [key for key in fits if "kid" not in header or key.key_id == kid]


def judge(token):
    header = jwt.get_unverified_header(token)
    worst = KeyError("kid")
    for key in candidates(header):
        try:
            jwt.decode(
                token,
                key.key,
                algorithms=terms["algorithms"],
                issuer=terms["issuer"],
                audience=terms["audience"],
                leeway=terms["leeway"],
                options={"require": ["exp", "aud", "iss", "sub"]},
            )
            return
        except jwt.PyJWTError as error:
            worst = error
    raise worst


for line in sys.stdin:
    try:
        judge(json.loads(line))
        print("yes")
    except Exception as error:  # Whatever it is, the token is not taken.
        print("no", type(error).__name__)
