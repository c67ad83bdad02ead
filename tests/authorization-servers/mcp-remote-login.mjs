// Logs in through mcp-remote, as a desktop host starts it: with the URL alone; usage in README.md.
import { commandLine, drive, load, part, script, temporaryHome } from '../clients/driver.mjs';
import { logIn } from './person-forms.mjs';

const { Client } = load('@modelcontextprotocol/sdk/client/index.js');
const { StdioClientTransport } = load('@modelcontextprotocol/sdk/client/stdio.js');

const options = commandLine({ name: { type: 'string' }, password: { type: 'string' } });
const home = temporaryHome();
const transport = new StdioClientTransport({
  command: process.execPath,
  args: [script('mcp-remote/dist/proxy.js'), options.url, '--transport', 'http-only', '--auth-timeout', '60'],
  // There is no program that opens a browser.
  env: { HOME: home, MCP_REMOTE_CONFIG_DIR: home, PATH: home },
  stderr: 'pipe'
});
let log = '';
let isOpened = false;
const opened = [];
transport.stderr.on('data', async chunk => {
  log += chunk;
  const url = log.match(/(https?:\/\/\S+\/authorize\?\S+)\s/)?.[1];
  if (!url || isOpened) return;
  isOpened = true;
  try {
    const place = await logIn(url, options.name, options.password);
    opened.push(new URL(place).origin);
    await fetch(place);
  } catch (error) {
    opened.push(String(error));
  }
});

const client = new Client({ name: 'witgate-mcp-remote', version: '1.0.0' });
await drive('mcp-remote-login', options.timeout, { steps: {} }, async report => {
  try {
    await client.connect(transport, { timeout: options.timeout });
    report.stage = 'call';
    report.steps.called = await client.callTool({ name: options.call, arguments: options.args });
  } catch (error) {
    report.steps.log = log.slice(-2000);
    throw error;
  } finally {
    report.steps.opened = opened;
    await part(client, transport).catch(() => {});
  }
});
