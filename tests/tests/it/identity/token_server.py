"""A FastMCP server that takes nobody without a token of Witgate's, and tells who it was told calls.

Arguments: the URL of the key set, the issuer, the audience, the port.
"""

import json
import sys

from fastmcp import FastMCP
from fastmcp.server.auth.providers.jwt import JWTVerifier
from fastmcp.server.dependencies import get_access_token, get_http_headers

jwks, issuer, audience, port = sys.argv[1:]
server = FastMCP("who", auth=JWTVerifier(jwks_uri=jwks, issuer=issuer, audience=audience, algorithm="ES256"))


@server.tool
def who() -> str:
    return json.dumps({"claims": get_access_token().claims, "headers": get_http_headers(include_all=True)})


server.run(transport="http", host="127.0.0.1", port=int(port), show_banner=False)
