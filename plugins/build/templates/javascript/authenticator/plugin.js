// Judges tokens that begin with `tok_`: the one that equals a secret is the subject of the settings.

import { equal } from "witgate:auth/crypto@{{package}}";
import { reveal } from "witgate:auth/secrets@{{package}}";

// The prefix of the tokens that this plugin judges.
const FORM = "tok_";

// Witgate validates the settings against this JSON Schema before it calls `configure`.
const SCHEMA = {
  type: "object",
  properties: {
    header: { description: "The header that carries the token.", type: "string" },
    secret: {
      description: "The name of the secret that the token has to equal, as in `grants.secrets`.",
      type: "string",
    },
    subject: { description: "The owner of the token.", type: "string" },
  },
  required: ["header", "secret", "subject"],
  additionalProperties: false,
};

// Set by `configure`, once for each instance.
let settings = {};

export const plugin = {
  describe() {
    return {
      name: "{{name}}",
      version: "0.1.0",
      summary: "Takes one token, which equals a secret, in a header.",
      configSchema: JSON.stringify(SCHEMA),
    };
  },

  configure(policy, config) {
    settings = JSON.parse(config);
    if (settings.subject === "") {
      throw { pointer: "/subject", message: "empty; write the name of the token's owner" };
    }
    return { schemes: ["header"], credentialHeader: settings.header, headers: [], data: {} };
  },
};

export const authentication = {
  authenticate(call, credential) {
    if (!credential.value.startsWith(FORM)) {
      return { tag: "not-mine" };
    }
    let secret;
    try {
      secret = reveal(settings.secret);
    } catch {
      return { tag: "unavailable", val: { detail: `the secret ${settings.secret} is not granted` } };
    }
    const bytes = (text) => new TextEncoder().encode(text);
    if (!equal(bytes(credential.value), bytes(secret))) {
      const detail = "the token is not the one in the settings";
      return { tag: "refused", val: { reason: "unknown-token", detail } };
    }
    const identity = { subject: settings.subject, roles: [], scopes: [] };
    return { tag: "identity", val: identity };
  },
};
