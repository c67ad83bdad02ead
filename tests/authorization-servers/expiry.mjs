// Logs in with an SDK that knows only the URL, and calls a tool five times at once when its token is no longer good;
// usage in README.md.
import { commandLine, drive, load, part, transportFor } from '../clients/driver.mjs';
import { logIn } from './person-forms.mjs';

const options = commandLine({ sdk: { type: 'string' }, name: { type: 'string' }, password: { type: 'string' } });
const { Client, StreamableHTTPClientTransport, UnauthorizedError } =
  options.sdk === 'ts-sdk'
    ? {
        ...load('@modelcontextprotocol/sdk/client/index.js'),
        ...load('@modelcontextprotocol/sdk/client/streamableHttp.js'),
        ...load('@modelcontextprotocol/sdk/client/auth.js')
      }
    : load('@modelcontextprotocol/client');

const redirectUrl = 'http://127.0.0.1:4712/callback';

/** What this client remembers. It has no state of its own beside the SDK's. */
class Login {
  logins = 0;
  refreshes = 0;
  redirectUrl = redirectUrl;
  clientMetadata = {
    client_name: 'witgate-expiry',
    redirect_uris: [redirectUrl],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none'
  };
  clientInformation = () => this.client;
  saveClientInformation = client => void (this.client = client);
  tokens = () => this.saved;
  codeVerifier = () => this.verifier;
  saveCodeVerifier = verifier => void (this.verifier = verifier);

  saveTokens(tokens) {
    if (this.saved) this.refreshes += 1;
    this.saved = tokens;
  }

  async redirectToAuthorization(url) {
    this.logins += 1;
    this.answer = new URL(await logIn(url.href, options.name, options.password)).searchParams;
  }
}

const login = new Login();
let transport;
let client;

async function connect() {
  client = new Client({ name: 'witgate-expiry', version: '1.0.0' });
  transport = transportFor(options, { StreamableHTTPClientTransport }, login);
  await client.connect(transport);
}

await drive(`expiry-${options.sdk}`, options.timeout, { steps: {} }, async report => {
  try {
    await connect().catch(async error => {
      if (!(error instanceof UnauthorizedError)) throw error;
      await transport.finishAuth(options.sdk === 'ts-sdk' ? login.answer.get('code') : login.answer);
      await connect();
    });
    const call = { name: options.call, arguments: options.args };
    report.stage = 'call';
    report.steps.called = await client.callTool(call);
    report.stage = 'expiry';
    login.saved = { ...login.saved, access_token: `${login.saved.access_token.slice(0, -8)}AAAAAAAA` };
    const results = await Promise.allSettled([1, 2, 3, 4, 5].map(() => client.callTool(call)));
    report.steps.good = results.filter(result => result.status === 'fulfilled').length;
    report.steps.reasons = results.map(result => result.reason?.message ?? null);
  } finally {
    report.steps.logins = login.logins;
    report.steps.refreshes = login.refreshes;
    await part(client, transport).catch(() => {});
  }
});
