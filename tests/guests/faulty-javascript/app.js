// An authorizer that fails in the way that the tool's name says, and allows every other tool.

import { write } from 'witgate:auth/log@0.1.0';

export const plugin = {
  describe() {
    return { name: 'faulty-javascript', version: '0.1.0', summary: "Fails as the tool's name says.", configSchema: '{"type": "object"}' };
  },
  configure(policy, config) {
    return { schemes: [], credentialHeader: undefined, headers: [], data: {} };
  },
};

export const authorization = {
  authorize(call, principal) {
    if (call.target === 'throws') {
      write('info', 'about to look up a rule');
      console.log('a line on standard output');
      return lookUp({}, call.target);
    }
    return { tag: 'allow' };
  },
};

function lookUp(rules, name) {
  return rules[name].decision;
}
