"""Judges tokens that begin with `tok_`: the one that equals a secret is the subject of the settings."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.plugin import ConfigError, Data, Description, Wants
from wit_world.imports import crypto, secrets
from wit_world.imports.types import (
    Call,
    Credential,
    Identity,
    Refusal,
    Scheme,
    Unavailability,
    Verdict,
    Verdict_Identity,
    Verdict_NotMine,
    Verdict_Refused,
    Verdict_Unavailable,
)

# The prefix of the tokens that this plugin judges.
FORM = "tok_"

# Witgate validates the settings against this JSON Schema before it calls `configure`.
SCHEMA = {
    "type": "object",
    "properties": {
        "header": {"description": "The header that carries the token.", "type": "string"},
        "secret": {
            "description": "The name of the secret that the token has to equal, as in `grants.secrets`.",
            "type": "string",
        },
        "subject": {"description": "The owner of the token.", "type": "string"},
    },
    "required": ["header", "secret", "subject"],
    "additionalProperties": False,
}

# Set by `configure`, once for each instance.
settings: dict[str, str] = {}


class Plugin(exports.Plugin):
    def describe(self) -> Description:
        return Description(
            name="{{name}}",
            version="0.1.0",
            summary="Takes one token, which equals a secret, in a header.",
            config_schema=json.dumps(SCHEMA),
        )

    def configure(self, policy: str, config: str) -> Wants:
        global settings
        settings = json.loads(config)
        if not settings["subject"]:
            raise Err(ConfigError(pointer="/subject", message="empty; write the name of the token's owner"))
        return Wants(schemes=[Scheme.HEADER], credential_header=settings["header"], headers=[], data=Data(0))


class Authentication(exports.Authentication):
    def authenticate(self, call: Call, credential: Credential) -> Verdict:
        if not credential.value.startswith(FORM):
            return Verdict_NotMine()
        try:
            secret = secrets.reveal(settings["secret"])
        except Err:
            detail = f"the secret {settings['secret']} is not granted"
            return Verdict_Unavailable(Unavailability(detail=detail, retry_after=None))
        if not crypto.equal(credential.value.encode(), secret.encode()):
            detail = "the token is not the one in the settings"
            return Verdict_Refused(Refusal(reason="unknown-token", detail=detail))
        identity = Identity(
            subject=settings["subject"], issuer=None, roles=[], scopes=[], claims=None, expires_at=None
        )
        return Verdict_Identity(identity)
