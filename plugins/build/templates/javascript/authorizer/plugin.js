// Allows the tools whose names begin with one of the prefixes in the settings.

// Witgate validates the settings against this JSON Schema before it calls `configure`.
const SCHEMA = {
  type: "object",
  properties: {
    prefixes: {
      description: "Prefixes of the tools that may be called, such as `get-`.",
      type: "array",
      items: { type: "string" },
    },
  },
  required: ["prefixes"],
  additionalProperties: false,
};

// Set by `configure`, once for each instance.
let prefixes = [];

export const plugin = {
  describe() {
    return {
      name: "{{name}}",
      version: "0.1.0",
      summary: "Allows the tools whose names begin with a prefix of the settings.",
      configSchema: JSON.stringify(SCHEMA),
    };
  },

  configure(policy, config) {
    const settings = JSON.parse(config);
    const empty = settings.prefixes.indexOf("");
    if (empty >= 0) {
      const message =
        "an empty prefix would allow every tool; write the beginning of names";
      throw { pointer: `/prefixes/${empty}`, message };
    }
    prefixes = settings.prefixes;
    return { schemes: [], headers: [], data: {} };
  },
};

export const authorization = {
  authorize(call, principal) {
    if (call.kind !== "tool") {
      return { tag: "abstain" };
    }
    if (prefixes.some((prefix) => call.target.startsWith(prefix))) {
      return { tag: "allow" };
    }
    const detail = `${principal.subject} called ${call.target}, whose name begins with none of the configured prefixes`;
    return { tag: "deny", val: { reason: "prefix-not-allowed", scopes: [], detail } };
  },
};
