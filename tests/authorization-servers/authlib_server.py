"""A second authorization server, of another make: `authlib` under Flask. Usage in README.md.

What it issued is kept in a file, so that it can be killed and started again with the same tokens.
"""

import json
import logging
import os
import secrets
import sqlite3
import sys
import threading
import time

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # It listens on loopback alone.

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, TokenMixin, grants
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from authlib.oauth2.rfc7591 import ClientRegistrationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from authlib.oauth2.rfc9207 import IssuerParameter
from flask import Flask, Response, jsonify, request
from joserfc.jwk import KeySet, RSAKey
from markupsafe import escape
from werkzeug.serving import make_server

SETTINGS = json.loads(sys.argv[1])
ISSUER = f"http://127.0.0.1:{SETTINGS['port']}"


class Store:
    """Everything that is to outlive the process: a table of JSON objects by kind and id."""

    def __init__(self, path):
        self.lock = threading.Lock()
        self.db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.db.execute("CREATE TABLE IF NOT EXISTS kept (kind, id, payload, PRIMARY KEY (kind, id))")

    def put(self, kind, id, payload):
        with self.lock:
            self.db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", (kind, id, json.dumps(payload)))

    def get(self, kind, id):
        with self.lock:
            row = self.db.execute("SELECT payload FROM kept WHERE kind = ? AND id = ?", (kind, id)).fetchone()
        return row and json.loads(row[0])

    def remove(self, kind, id):
        with self.lock:
            self.db.execute("DELETE FROM kept WHERE kind = ? AND id = ?", (kind, id))


STORE = Store(SETTINGS["store"])


def new_key():
    parameters = {"kid": secrets.token_urlsafe(8), "alg": "RS256", "use": "sig"}
    return RSAKey.generate_key(2048, parameters=parameters).as_dict(private=True)


class Keys:
    """The first one signs; all of them are published."""

    def __init__(self):
        self.all = STORE.get("own", "keys") or [new_key()]
        self.save()

    def save(self):
        STORE.put("own", "keys", self.all)

    def rotate(self):
        self.all = [new_key(), *self.all]
        self.save()

    def withdraw(self):
        self.all = self.all[:1]
        self.save()


KEYS = Keys()


class Client(ClientMixin, dict):
    def get_client_id(self):
        return self["client_id"]

    def get_default_redirect_uri(self):
        return next(iter(self["redirect_uris"]), None)

    def get_allowed_scope(self, scope):
        allowed = self.get("scope", "").split() or SETTINGS["scopes"]
        return " ".join(word for word in (scope or "").split() if word in allowed)

    def check_redirect_uri(self, redirect_uri):
        return redirect_uri in self["redirect_uris"]

    def check_client_secret(self, client_secret):
        return secrets.compare_digest(self["client_secret"], client_secret)

    def check_endpoint_auth_method(self, method, endpoint):
        named = self.get("token_endpoint_auth_method", "client_secret_basic")
        return method == {"private_key_jwt": JWTBearerClientAssertion.CLIENT_AUTH_METHOD}.get(named, named)

    def check_response_type(self, response_type):
        return response_type in self["response_types"]

    def check_grant_type(self, grant_type):
        return grant_type in self["grant_types"]


class Code(AuthorizationCodeMixin, dict):
    def get_redirect_uri(self):
        return self["redirect_uri"]

    def get_scope(self):
        return self["scope"]


class Token(TokenMixin, dict):
    def check_client(self, client):
        return client["client_id"] in (self["client_id"], SETTINGS["introspector"])

    def get_scope(self):
        return self["scope"]

    def get_expires_in(self):
        return self["expires_at"] - self["issued_at"]

    def is_expired(self):
        return self["expires_at"] <= time.time()

    def is_revoked(self):
        return False  # One that is revoked is gone.


class User:
    def __init__(self, name):
        self.name = name

    def get_user_id(self):
        return self.name


def stored(kind, model, id):
    payload = STORE.get(kind, id)
    return None if payload is None else model(payload)


def query_client(client_id):
    listed = next((c for c in SETTINGS["clients"] if c["client_id"] == client_id), None)
    return Client(listed) if listed else stored("client", Client, client_id)


def save_token(token, request):
    now = int(time.time())
    STORE.put(
        "token",
        token["access_token"],
        {
            "access_token": token["access_token"],
            "client_id": request.client["client_id"],
            "sub": request.user.name if request.user else request.client["client_id"],
            "scope": token.get("scope", ""),
            "aud": request.form.get("resource"),
            "issued_at": now,
            "expires_at": now + token["expires_in"],
        },
    )


class SignedTokens(JWTBearerTokenGenerator):
    def get_jwks(self):
        return KEYS.all[0]

    def get_audiences(self, client, user, scope):
        return request.form["resource"]

    def get_extra_claims(self, client, grant_type, user, scope):
        return {"roles": SETTINGS["roles"]}


def ttl(*_):
    return SETTINGS["ttl"]


signed = SignedTokens(ISSUER, expires_generator=ttl)
opaque = BearerTokenGenerator(lambda **_: secrets.token_urlsafe(32), expires_generator=ttl)


def tokens(**about):
    """The resource that a client names decides what its token looks like (RFC 8707)."""
    generator = signed if SETTINGS["resources"].get(request.form.get("resource")) == "jwt" else opaque
    return generator(**about)


class Codes(grants.AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post", "none"]

    def save_authorization_code(self, code, granted):
        form = request.values
        kept = ["redirect_uri", "code_challenge", "code_challenge_method"]
        about = {name: form.get(name) for name in kept}
        about["scope"] = " ".join(scope for scope in form["scope"].split() if scope in form.getlist("grant"))
        STORE.put("code", code, about | {"code": code, "client_id": granted.client["client_id"], "user": granted.user.name})

    def query_authorization_code(self, code, client):
        code = stored("code", Code, code)
        return code if code and code["client_id"] == client["client_id"] else None

    def delete_authorization_code(self, code):
        STORE.remove("code", code["code"])

    def authenticate_user(self, code):
        return User(code["user"])


class Challenge(CodeChallenge):
    def get_authorization_code_challenge(self, code):
        return code["code_challenge"]

    def get_authorization_code_challenge_method(self, code):
        return code["code_challenge_method"]


class Introspection(IntrospectionEndpoint):
    CLIENT_AUTH_METHODS = ["client_secret_basic", "client_secret_post", JWTBearerClientAssertion.CLIENT_AUTH_METHOD]

    def check_permission(self, token, client, request):
        return client["client_id"] == SETTINGS["introspector"]

    def query_token(self, token, hint):
        return stored("token", Token, token)

    def introspect_token(self, token):
        return {
            "iss": ISSUER,
            "client_id": token["client_id"],
            "token_type": "Bearer",
            "scope": token["scope"],
            "sub": token["sub"],
            "aud": token["aud"],
            "exp": token["expires_at"],
            "iat": token["issued_at"],
            "roles": SETTINGS["roles"],
        }


class Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = Introspection.CLIENT_AUTH_METHODS

    def query_token(self, token, hint):
        return stored("token", Token, token)

    def revoke_token(self, token, request):
        STORE.remove("token", token["access_token"])


class Registration(ClientRegistrationEndpoint):
    def authenticate_token(self, request):
        return True  # Anybody may, as MCP clients expect.

    def get_server_metadata(self):
        return metadata()

    def save_client(self, client_info, client_metadata, request):
        STORE.put("client", client_info["client_id"], client_metadata | client_info)
        return Client(client_metadata | client_info)


class Assertion(JWTBearerClientAssertion):
    def get_audiences(self):
        return [ISSUER, f"{ISSUER}/introspect", f"{ISSUER}/revoke"]

    def validate_jti(self, claims, jti):
        return STORE.get("jti", jti) is None and (STORE.put("jti", jti, True) is None)

    def resolve_client_public_key(self, client):
        return KeySet.import_key_set(client["jwks"])


class Issuer(IssuerParameter):
    def get_issuer(self):
        return ISSUER


app = Flask(__name__)
server = AuthorizationServer(app, query_client=query_client, save_token=save_token)
server.register_token_generator("default", tokens)
server.register_grant(grants.ClientCredentialsGrant)
server.register_grant(Codes, [Challenge(required=True)])
server.register_endpoint(Introspection)
server.register_endpoint(Revocation)
server.register_endpoint(Registration)
server.register_client_auth_method(Assertion.CLIENT_AUTH_METHOD, Assertion())
server.register_extension(Issuer())


@app.get("/.well-known/oauth-authorization-server")
def metadata():
    methods = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
    return {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/authorize",
        "token_endpoint": f"{ISSUER}/token",
        "introspection_endpoint": f"{ISSUER}/introspect",
        "revocation_endpoint": f"{ISSUER}/revoke",
        "registration_endpoint": f"{ISSUER}/register",
        "jwks_uri": f"{ISSUER}/jwks",
        "scopes_supported": SETTINGS["scopes"],
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "client_credentials"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": [*methods, "none"],
        "introspection_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "authorization_response_iss_parameter_supported": True,
    }


@app.get("/jwks")
def jwks():
    return {"keys": [RSAKey.import_key(key).as_dict(private=False) for key in KEYS.all]}


LOGIN = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Log in</title></head><body>
<form method="post"><label>Name <input name="name"></label>
<label>Password <input name="password" type="password"></label>{boxes}<button>Log in and allow</button></form></body></html>"""
BOX = '<label><input type="checkbox" name="grant" value="{0}" checked>{0}</label>'


@app.route("/authorize", methods=["GET", "POST"])
def authorize():
    name = request.form.get("name", "")
    known = name in SETTINGS["accounts"] and SETTINGS["accounts"][name] == request.form.get("password")
    user = User(name) if known else None
    try:
        grant = server.get_consent_grant(end_user=user)
    except OAuth2Error as error:
        return jsonify(dict(error.get_body())), 400
    if request.method == "GET":
        boxes = (BOX.format(escape(scope)) for scope in request.args.get("scope", "").split())
        return Response(LOGIN.format(boxes="".join(boxes)), content_type="text/html; charset=utf-8")
    return server.create_authorization_response(grant_user=user, grant=grant)


@app.post("/token")
def token():
    if request.form.get("resource") not in SETTINGS["resources"]:
        return {"error": "invalid_target"}, 400
    return server.create_token_response()


@app.post("/introspect")
def introspect():
    return server.create_endpoint_response("introspection")


@app.post("/revoke")
def revoke():
    return server.create_endpoint_response("revocation")


@app.post("/register")
def register():
    return server.create_endpoint_response("client_registration")


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    listener = make_server("127.0.0.1", SETTINGS["port"], app, threaded=True)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    print(f"listening {ISSUER}", flush=True)
    # One order on a line, one answer. Whoever started it ends it by closing its input.
    for order in sys.stdin:
        {"rotate": KEYS.rotate, "withdraw": KEYS.withdraw}[order.strip()]()
        print(f"signing {KEYS.all[0]['kid']}", flush=True)


main()
