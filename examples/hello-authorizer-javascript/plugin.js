// The smallest authorizer: callers who have the role may call, others may not.

// Witgate validates the settings against this JSON Schema before it calls `configure`.
const SCHEMA = {
  type: "object",
  properties: { role: { description: "The role that a caller needs.", type: "string" } },
  required: ["role"],
  additionalProperties: false,
};

// Set by `configure`, once for each instance.
let role = "";

export const plugin = {
  describe() {
    return {
      name: "hello-authorizer-javascript",
      version: "0.1.0",
      summary: "Allows callers who have one role.",
      configSchema: JSON.stringify(SCHEMA),
    };
  },

  configure(policy, config) {
    ({ role } = JSON.parse(config));
    if (role === "") {
      // A thrown value is the error of the WIT function.
      throw { pointer: "/role", message: "an empty role; write the name of a role" };
    }
    return { schemes: [], credentialHeader: undefined, headers: [], data: {} };
  },
};

export const authorization = {
  authorize(call, principal) {
    if (principal.roles.includes(role)) {
      return { tag: "allow" };
    }
    const detail = `the caller does not have the role \`${role}\``;
    return { tag: "deny", val: { reason: "wrong-role", scopes: [], retryAfter: undefined, detail } };
  },
};
