// Drives mcp-remote as a desktop host does: a stdio client before the bridge, HTTP behind it; usage in README.md.
import { commandLine, drive, errorInText, load, part, pause, script, temporaryHome, watchProtocol } from './driver.mjs';

const { Client } = load('@modelcontextprotocol/sdk/client/index.js');
const { StdioClientTransport } = load('@modelcontextprotocol/sdk/client/stdio.js');

const options = commandLine();
if (!options.url) throw new Error('mcp-remote bridges to a --url');
const home = temporaryHome();
const headers = Object.entries(options.header).flatMap(([name, value]) => ['--header', `${name}: ${value}`]);
const transport = new StdioClientTransport({
  command: process.execPath,
  args: [
    script('mcp-remote/dist/proxy.js'),
    options.url,
    ...['--transport', 'http-only', '--protocol', options.mode === 'legacy' ? 'legacy' : 'auto'],
    ...['--auth-timeout', '3'],
    ...headers
  ],
  // Tokens and client registrations of earlier runs would change what a refusal looks like.
  env: { HOME: home, MCP_REMOTE_CONFIG_DIR: home },
  stderr: 'pipe'
});
let log = '';
transport.stderr.on('data', chunk => (log += chunk));

const client = new Client({ name: 'witgate-mcp-remote', version: '1.0.0' });
const protocol = watchProtocol(transport);

await drive('mcp-remote', options.timeout, { listed: null, called: null }, async report => {
  try {
    await client.connect(transport);
    report.protocol = protocol();
    report.stage = 'list';
    report.listed = (await client.listTools()).tools.map(tool => tool.name);
    await pause(options.pause);
    if (options.call) {
      report.stage = 'call';
      report.called = await client.callTool({ name: options.call, arguments: options.args });
    }
  } catch (error) {
    // The bridge ends itself when it is refused, and says why on stderr only.
    const fatal = log.match(/Fatal error: (\w*)(.*)/);
    if (fatal) {
      const status = Number(log.match(/HTTP (\d{3})|status: (\d{3})/)?.slice(1).find(Boolean)) || null;
      const body = errorInText(fatal[2]);
      error.report = {
        stage: report.stage,
        kind: fatal[1],
        status,
        code: body?.code ?? null,
        message: fatal[0],
        data: body?.data ?? null,
        scope: null
      };
    }
    throw error;
  } finally {
    await part(client, transport).catch(() => {});
  }
});
