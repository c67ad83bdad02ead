// Drives @modelcontextprotocol/client (the TypeScript SDK's second major version); usage in README.md.
import { commandLine, listAndCall, load, transportFor } from './driver.mjs';

const { Client, ClientCredentialsProvider, StreamableHTTPClientTransport } = load('@modelcontextprotocol/client');
const { StdioClientTransport } = load('@modelcontextprotocol/client/stdio');

const options = commandLine();
const mode = ['auto', 'legacy'].includes(options.mode) ? options.mode : { pin: options.mode };
const client = new Client({ name: 'witgate-ts-client', version: '1.0.0' }, { versionNegotiation: { mode } });
const credentials = options.client && new ClientCredentialsProvider({
  clientId: options.client.id,
  clientSecret: options.client.secret,
  expectedIssuer: options.client.issuer,
  scope: options.client.scope
});
const transport = transportFor(options, { StreamableHTTPClientTransport, StdioClientTransport }, credentials);

const protocol = () => client.getNegotiatedProtocolVersion();

await listAndCall('ts-client', options, client, transport, protocol, call => client.callTool(call));
