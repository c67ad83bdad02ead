"""The smallest authorizer: callers who have the role may call, others may not."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.plugin import ConfigError, Data, Description, Wants
from wit_world.imports.types import Call, Decision, Decision_Allow, Decision_Deny, Denial, Principal

# Witgate validates the settings against this JSON Schema before it calls `configure`.
SCHEMA = {
    "type": "object",
    "properties": {"role": {"description": "The role that a caller needs.", "type": "string"}},
    "required": ["role"],
    "additionalProperties": False,
}

# Set by `configure`, once for each instance.
role = ""


class Plugin(exports.Plugin):
    def describe(self) -> Description:
        return Description(
            name="hello-authorizer-python",
            version="0.1.0",
            summary="Allows callers who have one role.",
            config_schema=json.dumps(SCHEMA),
        )

    def configure(self, policy: str, config: str) -> Wants:
        global role
        role = json.loads(config)["role"]
        if not role:
            message = "an empty role; write the name of a role"
            raise Err(ConfigError(pointer="/role", message=message))
        return Wants(schemes=[], credential_header=None, headers=[], data=Data(0))


class Authorization(exports.Authorization):
    def authorize(self, call: Call, principal: Principal) -> Decision:
        if role in principal.roles:
            return Decision_Allow()
        detail = f"the caller does not have the role `{role}`"
        return Decision_Deny(Denial(reason="wrong-role", scopes=[], retry_after=None, detail=detail))
