"""Allows the tools whose names begin with one of the prefixes in the settings."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.plugin import ConfigError, Data, Description, Wants
from wit_world.imports.types import (
    Call,
    Decision,
    Decision_Abstain,
    Decision_Allow,
    Decision_Deny,
    Denial,
    Principal,
    TargetKind,
)

# Witgate validates the settings against this JSON Schema before it calls `configure`.
SCHEMA = {
    "type": "object",
    "properties": {
        "prefixes": {
            "description": "Prefixes of the tools that may be called, such as `get-`.",
            "type": "array",
            "items": {"type": "string"},
        },
    },
    "required": ["prefixes"],
    "additionalProperties": False,
}

# Set by `configure`, once for each instance.
prefixes: tuple[str, ...] = ()


class Plugin(exports.Plugin):
    def describe(self) -> Description:
        return Description(
            name="{{name}}",
            version="0.1.0",
            summary="Allows the tools whose names begin with a prefix of the settings.",
            config_schema=json.dumps(SCHEMA),
        )

    def configure(self, policy: str, config: str) -> Wants:
        global prefixes
        settings = json.loads(config)
        for index, prefix in enumerate(settings["prefixes"]):
            if not prefix:
                message = "an empty prefix would allow every tool; write the beginning of names"
                raise Err(ConfigError(pointer=f"/prefixes/{index}", message=message))
        prefixes = tuple(settings["prefixes"])
        return Wants(schemes=[], credential_header=None, headers=[], data=Data(0))


class Authorization(exports.Authorization):
    def authorize(self, call: Call, principal: Principal) -> Decision:
        if call.kind != TargetKind.TOOL:
            return Decision_Abstain()
        if call.target.startswith(prefixes):
            return Decision_Allow()
        detail = f"{principal.subject} called {call.target}, whose name begins with none of the configured prefixes"
        return Decision_Deny(Denial(reason="prefix-not-allowed", scopes=[], retry_after=None, detail=detail))
