// A real authorization server: `oidc-provider`, on loopback, with its own login page. Usage in README.md.
//
// What it issued is kept in a file, so that it can be killed and started again with the same tokens.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import Provider from 'oidc-provider';

import { keptIn } from './store.mjs';
import { consentPage, loginPage } from './pages.mjs';

const settings = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${settings.port}`;
const store = keptIn(settings.store);

/** Signs what is issued from now on; the older ones stay published until they are withdrawn. */
const newKey = () => ({
  ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
  kid: randomUUID(),
  alg: 'RS256',
  use: 'sig'
});

let keys = store.load('keys') ?? [newKey()];
let provider;

/** The provider reads its keys once, so other keys are another provider before the same store. */
function begin() {
  store.save('keys', keys);
  provider = new Provider(issuer, {
    adapter: store.Adapter,
    jwks: { keys },
    cookies: { keys: ['only-for-tests'] },
    clients: settings.clients,
    scopes: settings.scopes,
    clientDefaults: { token_endpoint_auth_method: 'client_secret_basic' },
    enabledJWA: { introspectionSigningAlgValues: ['RS256'] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: (_, client) => client.clientId === settings.introspector },
      jwtIntrospection: { enabled: true },
      revocation: { enabled: true, allowedPolicy: (_, client, token) =>
        client.clientId === settings.introspector || client.clientId === token.clientId },
      dPoP: { enabled: true },
      registration: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource) => resourceServer(resource)
      }
    },
    ttl: {
      ClientCredentials: settings.ttl,
      AccessToken: settings.ttl,
      Grant: 3600,
      Interaction: 600,
      Session: 3600
    },
    // Every token of this server carries the roles that Witgate's rules go by.
    extraTokenClaims: () => ({ roles: settings.roles }),
    findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    // Each login asks anew what the client may have.
    loadExistingGrant: context =>
      context.oidc.result?.consent && context.oidc.provider.Grant.find(context.oidc.result.consent.grantId),
    interactions: { url: (_, interaction) => `/login/${interaction.uid}` }
  });
  provider.on('server_error', (_, error) => console.error(error));
}

function resourceServer(resource) {
  const accessTokenFormat = settings.resources[resource];
  if (!accessTokenFormat) throw new Provider.errors.InvalidTarget();
  return {
    scope: settings.scopes.join(' '),
    audience: resource,
    accessTokenFormat,
    accessTokenTTL: settings.ttl,
    jwt: { sign: { alg: 'RS256' } }
  };
}

/** The login page, and the page that asks whether the client may. */
async function interact(request, response) {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  if (request.method === 'GET') {
    const page = prompt.name === 'login' ? loginPage() : consentPage(params);
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    return response.end(page);
  }
  let form = '';
  for await (const part of request) form += part;
  const fields = new URLSearchParams(form);
  if (prompt.name === 'login') {
    const known = settings.accounts[fields.get('name')] === fields.get('password');
    const result = known
      ? { login: { accountId: fields.get('name') } }
      : { error: 'access_denied', error_description: 'unknown name or password' };
    return provider.interactionFinished(request, response, result);
  }
  const asked = (params.scope ?? '').split(' ');
  const granted = asked.filter(scope => fields.getAll('scope').includes(scope));
  const refused = asked.filter(scope => !granted.includes(scope));
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  for (const resource of [params.resource].flat().filter(Boolean)) {
    grant.addResourceScope(resource, granted.join(' '));
    grant.rejectResourceScope(resource, refused.join(' '));
  }
  grant.rejectOIDCScope(refused.join(' '));
  grant.addOIDCScope(granted.join(' '));
  const result = { consent: { grantId: await grant.save() } };
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

const orders = {
  rotate() {
    keys = [newKey(), ...keys];
  },
  withdraw() {
    keys = keys.slice(0, 1);
  }
};

/** Lets pages in browsers register and get tokens: the library leaves which ones to whoever uses it. */
function letPagesIn(request, response) {
  response.setHeader('Access-Control-Allow-Origin', '*');
  if (request.method !== 'OPTIONS') return false;
  const headers = request.headers['access-control-request-headers'] ?? '';
  response.writeHead(204, { 'Access-Control-Allow-Headers': headers, 'Access-Control-Allow-Methods': 'GET, POST' });
  response.end();
  return true;
}

begin();
createServer((request, response) => {
  if (settings.ahead_s) response.setHeader('Date', new Date(Date.now() + 1000 * settings.ahead_s).toUTCString());
  if (letPagesIn(request, response)) return undefined;
  if (!request.url.startsWith('/login/')) return provider.callback()(request, response);
  return interact(request, response).catch(error => {
    console.error(error);
    response.writeHead(400).end('the login went wrong');
  });
}).listen(settings.port, '127.0.0.1', () => console.log(`listening ${issuer}`));

// One order on a line, one answer: the id of the key that signs. Whoever started it ends it by closing its input.
createInterface({ input: process.stdin })
  .on('line', order => {
    orders[order]();
    begin();
    console.log(`signing ${keys[0].kid}`);
  })
  .on('close', () => process.exit(0));
