// Drives @modelcontextprotocol/sdk (the TypeScript SDK's first major version, 2025 era only); usage in README.md.
import { commandLine, listAndCall, load, transportFor, watchProtocol } from './driver.mjs';

const { Client } = load('@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport } = load('@modelcontextprotocol/sdk/client/streamableHttp.js');
const { StdioClientTransport } = load('@modelcontextprotocol/sdk/client/stdio.js');

const options = commandLine();
const client = new Client({ name: 'witgate-ts-sdk', version: '1.0.0' });
const transport = transportFor(options, { StreamableHTTPClientTransport, StdioClientTransport });
const protocol = watchProtocol(transport);

await listAndCall('ts-sdk', options, client, transport, protocol, call => client.callTool(call));
