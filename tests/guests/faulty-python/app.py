"""An authorizer that fails in the way that the tool's name says, and allows every other tool."""

import json
import sys

from wit_world import exports
from wit_world.exports import plugin
from wit_world.imports import log, types


class Plugin(exports.Plugin):
    def describe(self) -> plugin.Description:
        schema = {"type": "object", "properties": {"fail": {"type": "boolean"}}}
        return plugin.Description("faulty-python", "0.1.0", "Fails as the tool's name says.", json.dumps(schema))

    def configure(self, policy: str, config: str) -> plugin.Wants:
        if json.loads(config).get("fail"):
            raise KeyError("the settings say so")
        return plugin.Wants(schemes=[], credential_header=None, headers=[], data=plugin.Data(0))


class Authorization(exports.Authorization):
    def authorize(self, call: types.Call, principal: types.Principal) -> types.Decision:
        if call.target == "raises":
            log.write(log.Level.INFO, "about to look up a rule")
            print("a line on standard output")
            return look_up({"echo": 1}, call.target)
        if call.target == "talks":
            for number in range(1000):
                print(f"line {number} \x1b[2J", file=sys.stderr)
        return types.Decision_Allow()


def look_up(rules: dict, name: str) -> types.Decision:
    return rules[name]
