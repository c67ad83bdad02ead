// The TypeScript MCP client as a page has it: what it knows outlives the way to the authorization server and back in the
// page's own storage. Bundled and served by page.mjs.
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';

const settings = await (await fetch('/settings.json')).json();
const redirectUrl = `${location.origin}/`;

const kept = name => JSON.parse(sessionStorage.getItem(name) ?? 'null') ?? undefined;
const keep = (name, value) => sessionStorage.setItem(name, JSON.stringify(value));

const login = {
  redirectUrl,
  clientMetadata: {
    client_name: 'witgate-page',
    redirect_uris: [redirectUrl],
    grant_types: ['authorization_code'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
    scope: settings.scope
  },
  clientInformation: () => kept('client'),
  saveClientInformation: client => keep('client', client),
  tokens: () => kept('tokens'),
  saveTokens: tokens => keep('tokens', tokens),
  codeVerifier: () => kept('verifier'),
  saveCodeVerifier: verifier => keep('verifier', verifier),
  redirectToAuthorization: url => void location.assign(url)
};

async function work(report) {
  const transport = new StreamableHTTPClientTransport(new URL(settings.url), { authProvider: login });
  const landed = new URLSearchParams(location.search);
  if (landed.has('code')) {
    history.replaceState(null, '', redirectUrl);
    await transport.finishAuth(landed);
  }
  const mode = ['auto', 'legacy'].includes(settings.mode) ? settings.mode : { pin: settings.mode };
  const client = new Client({ name: 'witgate-page', version: '1.0.0' }, { versionNegotiation: { mode } });
  report.stage = 'connect';
  await client.connect(transport);
  report.protocol = client.getNegotiatedProtocolVersion() ?? null;
  report.steps.session = Boolean(transport.sessionId);
  report.stage = 'list';
  report.steps.listed = (await client.listTools()).tools.map(tool => tool.name);
  for (const [name, args] of settings.tools) {
    report.stage = name;
    report.steps[name] = await client.callTool({ name, arguments: args });
  }
  report.stage = 'part';
  await transport.terminateSession();
  await client.close();
}

const report = { protocol: null, stage: 'connect', steps: {}, error: null };
try {
  await work(report);
  window.report = report;
} catch (error) {
  // On its way to the authorization server, there is nothing to report yet.
  if (!(error instanceof UnauthorizedError)) {
    window.report = { ...report, error: { name: error.name, message: error.message } };
  }
}
