// Adds one header to every request on its way to a local server.
//
//   node key-proxy.mjs --target http://127.0.0.1:8787/mcp --header 'X-API-Key: …' [--listen 127.0.0.1:0]
//
// The conformance suite cannot send a header of ours, so it runs through this. Everything else
// passes as it came: the client's Host header (the suite tests DNS rebinding with it), header
// spelling and order, bodies and event streams, chunk by chunk, and either side hanging up.
// The header may also come from the environment, as KEY_PROXY_HEADER, which `ps` does not show.

import http from 'node:http';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    target: { type: 'string' },
    header: { type: 'string', default: process.env.KEY_PROXY_HEADER },
    listen: { type: 'string', default: '127.0.0.1:0' },
  },
});

const die = (code) => (message) => {
  console.error(`key-proxy: ${message}`);
  process.exit(code);
};
const usage = die(2);

if (!values.target) usage('--target URL is missing');
const target = new URL(values.target);
if (target.protocol !== 'http:') usage('the target has to be an http: URL');

const [, name, value] = values.header?.match(/^([^:\s]+):\s*(.+)$/) ?? usage("--header 'Name: value' is missing");
const [, host, port] = values.listen.match(/^(.+):(\d+)$/) ?? usage('--listen HOST:PORT is malformed');

/** The client's headers as a flat list, less any of ours, plus ours. */
const withKey = (raw) => {
  const headers = [];
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i].toLowerCase() !== name.toLowerCase()) headers.push(raw[i], raw[i + 1]);
  }
  return [...headers, name, value];
};

// A connection per request: a kept one may be closed by the server just as it is taken up again.
const agent = new http.Agent({ keepAlive: false });

const server = http.createServer((request, response) => {
  const forwarded = http.request({
    agent,
    host: target.hostname,
    port: target.port || 80,
    method: request.method,
    path: request.url,
    headers: withKey(request.rawHeaders),
    setHost: false,
  });
  forwarded.on('response', (answer) => {
    response.sendDate = false;
    response.writeHead(answer.statusCode, answer.statusMessage, answer.rawHeaders);
    // An event stream may stay silent for long: its headers must not wait for its first event.
    response.flushHeaders();
    answer.on('error', () => response.destroy());
    answer.pipe(response);
  });
  forwarded.on('error', (error) => {
    if (response.headersSent) return response.destroy();
    response.writeHead(502, { 'Content-Type': 'text/plain' }).end(`key-proxy: ${error.message}\n`);
  });
  response.on('close', () => forwarded.destroy());
  request.pipe(forwarded);
});

server.requestTimeout = 0;
server.on('error', (error) => die(1)(error.message));
server.listen(Number(port), host.replace(/^\[|\]$/g, ''), () => {
  const { address, family, port } = server.address();
  const authority = family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
  console.log(`listening http://${authority}${target.pathname}`);
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    server.close();
    server.closeAllConnections();
  });
}
