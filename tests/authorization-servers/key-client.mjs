// The TypeScript MCP client as a page has it that holds a key. Bundled, served and called by key.mjs.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const settings = await (await fetch('/settings.json')).json();
const mode = ['auto', 'legacy'].includes(settings.mode) ? settings.mode : { pin: settings.mode };
const client = new Client({ name: 'witgate-page', version: '1.0.0' }, { versionNegotiation: { mode } });
const transport = new StreamableHTTPClientTransport(new URL(settings.url), {
  requestInit: { headers: settings.header }
});

/** An error as it can leave the page. */
const shown = error => ({
  name: error.constructor.name,
  message: error.message,
  cause: error.cause?.message,
  rest: { code: error.code, status: error.status, data: error.data, requiredScope: error.requiredScope }
});

const steps = {
  connect: () => client.connect(transport),
  protocol: () => client.getNegotiatedProtocolVersion(),
  listTools: () => client.listTools(),
  callTool: call => client.callTool(call),
  terminateSession: () => transport.terminateSession(),
  close: () => client.close()
};

window.take = async (step, argument) => {
  try {
    return { value: await steps[step](argument) };
  } catch (error) {
    return { error: shown(error) };
  }
};
