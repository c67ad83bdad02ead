// Drives @modelcontextprotocol/inspector's CLI, which connects anew for every method; usage in README.md.
import { spawn } from 'node:child_process';
import { commandLine, drive, errorInText, pause, script, temporaryHome } from './driver.mjs';

const options = commandLine();
const home = temporaryHome();
const launcher = script('@modelcontextprotocol/inspector/clients/launcher/build/index.js');
const era = ['auto', 'legacy'].includes(options.mode) ? options.mode : 'modern';
const flags = Object.entries(options.header).flatMap(([name, value]) => ['--header', `${name}: ${value}`]);
const variables = Object.entries(options.env).flatMap(([name, value]) => ['-e', `${name}=${value}`]);
const server = options.url
  ? ['--server-url', options.url, ...flags]
  : [...variables, '--', options.command, ...options.commandArgs];

/** One run of the CLI: its result, or its error envelope thrown with the stage it belongs to. */
function run(method, stage, extra = []) {
  const common = ['--cli', '--method', method, '--format', 'json', '--quiet', '--protocol-era', era];
  const child = spawn(
    process.execPath,
    // Without --stored-auth-only a 401 would start a login in a browser.
    [launcher, ...common, '--stored-auth-only', ...extra, ...server],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, HOME: home } }
  );
  let out = '';
  let err = '';
  child.stdout.on('data', chunk => (out += chunk));
  child.stderr.on('data', chunk => (err += chunk));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', code => {
      // A result with isError exits with 5, but it is a result all the same.
      if (out.trim()) return resolve(JSON.parse(out).result);
      const envelope = errorInText(err) ?? { code: `exit ${code}`, message: err.trim() };
      const body = errorInText(envelope.message);
      const message = envelope.cause ? `${envelope.message} (${envelope.cause})` : envelope.message;
      const report = { stage, kind: envelope.code, status: null, code: body?.code ?? null, message, data: body?.data ?? null, scope: null };
      reject(Object.assign(new Error(message), { report }));
    });
  });
}

await drive('inspector', options.timeout, { listed: null, called: null }, async report => {
  report.protocol = (await run('initialize', 'connect')).protocolVersion;
  report.stage = 'list';
  report.listed = (await run('tools/list', 'list')).tools.map(tool => tool.name);
  await pause(options.pause);
  if (options.call) {
    report.stage = 'call';
    const call = ['--tool-name', options.call, '--tool-args-json', JSON.stringify(options.args)];
    report.called = await run('tools/call', 'call', call);
  }
});
