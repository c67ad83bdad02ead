// Lets a person log in, without a person: the TypeScript client with a real browser that goes through the authorization
// server's own pages. Calls each tool that it is given; usage in README.md.
import { createServer } from 'node:http';
import { chromium } from 'playwright-core';

import { commandLine, drive, load, part, transportFor } from '../clients/driver.mjs';
import { fillIn } from './person.mjs';

const { Client, StreamableHTTPClientTransport, UnauthorizedError } = load('@modelcontextprotocol/client');

const options = commandLine({
  browser: { type: 'string' },
  name: { type: 'string' },
  password: { type: 'string' },
  through: { type: 'string' }, // a provider at which the person logs in
  scope: { type: 'string' }, // asked for where neither the challenge nor the metadata names one
  decline: { type: 'string' }, // a scope that the person does not grant at the first login
  tools: { type: 'string' } // [[tool, arguments], …]
});
const calls = JSON.parse(options.tools);

/** Where the authorization server sends the browser back to. */
const landing = createServer((_, response) => response.end('done; this page can be closed'));
await new Promise(listening => landing.listen(0, '127.0.0.1', listening));
const redirectUrl = `http://127.0.0.1:${landing.address().port}/callback`;

/** What this client remembers, and how it has its user log in. */
class Login {
  logins = [];
  redirectUrl = redirectUrl;
  clientMetadata = {
    client_name: 'witgate-login',
    redirect_uris: [redirectUrl],
    grant_types: ['authorization_code'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
    scope: options.scope
  };
  clientInformation = () => this.client;
  saveClientInformation = client => void (this.client = client);
  tokens = () => this.saved;
  saveTokens = tokens => void (this.saved = tokens);
  codeVerifier = () => this.verifier;
  saveCodeVerifier = verifier => void (this.verifier = verifier);

  constructor(browser) {
    this.browser = browser;
  }

  async redirectToAuthorization(url) {
    const context = (this.context ??= await this.browser.newContext());
    const page = await context.newPage();
    await page.goto(url.href);
    const decline = this.logins.length === 0 ? options.decline : undefined;
    const seen = await fillIn(page, redirectUrl, { ...options, decline });
    this.callback = new URL(page.url()).searchParams;
    const asked = url.searchParams;
    this.logins.push({
      pages: seen,
      scope: asked.get('scope'),
      resource: asked.get('resource'),
      pkce: asked.get('code_challenge_method'),
      error: this.callback.get('error')
    });
    await page.close();
  }
}

const browser = await chromium.launch({
  executablePath: options.browser,
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu']
});
const login = new Login(browser);
let transport;
let client;

/** Connects anew: after a login, a client starts with a fresh transport. */
async function connect() {
  client = new Client({ name: 'witgate-login', version: '1.0.0' }, { versionNegotiation: { mode: options.mode } });
  transport = transportFor(options, { StreamableHTTPClientTransport }, login);
  await client.connect(transport);
}

/** Does something, and where that takes a login, finishes it and does it again. */
async function loggingIn(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof UnauthorizedError) || !login.callback) throw error;
    const callback = login.callback;
    login.callback = undefined;
    await transport.finishAuth(callback);
    return await work();
  }
}

await drive('ts-login', options.timeout, { steps: {} }, async report => {
  try {
    await loggingIn(connect);
    report.protocol = client.getNegotiatedProtocolVersion() ?? null;
    report.stage = 'list';
    report.steps.listed = (await loggingIn(() => client.listTools())).tools.map(tool => tool.name);
    for (const [name, args] of calls) {
      report.stage = name;
      report.steps[name] = await loggingIn(() => client.callTool({ name, arguments: args }));
    }
  } finally {
    report.steps.logins = login.logins;
    report.steps.scope = login.saved?.scope ?? null;
    await part(client, transport).catch(() => {});
    await browser.close();
  }
});
