// What every Node driver shares: the command line, the one JSON line on stdout, and the time limit.
import { createRequire } from 'node:module';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

export const tools =
  process.env.WITGATE_TEST_TOOLS ?? fileURLToPath(new URL('../../target/tools', import.meta.url));

/** Loads a package from `tools`: an `import` would look for it beside this file, where nothing is installed. */
export const load = createRequire(join(tools, 'package.json'));

/** The file in `tools` that a package's command runs. */
export const script = path => join(tools, 'node_modules', path);

// stdout carries the report alone; libraries that log there are sent to stderr.
console.log = console.error;

const pairs = (list, separator) =>
  Object.fromEntries(
    list.map(text => {
      const at = text.indexOf(separator);
      if (at < 1) throw new Error(`expected NAME${separator}VALUE, got ${text}`);
      return [text.slice(0, at).trim(), text.slice(at + 1).trim()];
    })
  );

/** `--url URL [--header 'Name: value']…` or `--stdio [--env K=V]… -- COMMAND ARGS…`; see README.md. */
export function commandLine(extra = {}) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      url: { type: 'string' },
      header: { type: 'string', multiple: true, default: [] },
      stdio: { type: 'boolean', default: false },
      env: { type: 'string', multiple: true, default: [] },
      mode: { type: 'string', default: 'auto' },
      call: { type: 'string' },
      args: { type: 'string', default: '{}' },
      meta: { type: 'string' },
      timeout: { type: 'string', default: '20' },
      client: { type: 'string' },
      again: { type: 'string' },
      pause: { type: 'string' },
      ...extra
    }
  });
  if (values.stdio === Boolean(values.url)) throw new Error('give either --url or --stdio');
  if (values.stdio && positionals.length === 0) throw new Error('--stdio needs -- COMMAND');
  return {
    ...values,
    header: pairs(values.header, ':'),
    env: pairs(values.env, '='),
    args: JSON.parse(values.args),
    meta: values.meta && JSON.parse(values.meta),
    client: values.client && JSON.parse(values.client),
    timeout: Number(values.timeout) * 1000,
    command: positionals[0],
    commandArgs: positionals.slice(1)
  };
}

/** A client transport for what the command line names, made of one SDK's classes. */
export function transportFor(options, { StreamableHTTPClientTransport, StdioClientTransport }, authProvider) {
  return options.url
    ? new StreamableHTTPClientTransport(new URL(options.url), { authProvider, requestInit: { headers: options.header } })
    : new StdioClientTransport({
        command: options.command,
        args: options.commandArgs,
        env: options.env,
        stderr: 'inherit'
      });
}

/** Ends a session the way a polite client does: DELETE where there is one, then close. */
export async function part(client, transport) {
  // A server may answer DELETE with 405, and a refused caller has no session to end.
  await transport.terminateSession?.().catch(() => {});
  await client.close();
}

/** A home directory that is gone afterwards, for clients that keep tokens and settings in theirs. */
export function temporaryHome() {
  const home = mkdtempSync(join(tmpdir(), 'witgate-client-'));
  process.on('exit', () => rmSync(home, { recursive: true, force: true }));
  return home;
}

/** The JSON-RPC error that a refusal's body carried, where the client passes the body on as text. */
export function errorInText(text) {
  const start = typeof text === 'string' ? text.indexOf('{') : -1;
  if (start < 0) return undefined;
  try {
    return JSON.parse(text.slice(start, text.lastIndexOf('}') + 1)).error;
  } catch {
    return undefined;
  }
}

/** An SDK's error as the report shows it: only what the client itself exposes. */
export function describe(stage, error) {
  const isHttp = error.constructor.name === 'StreamableHTTPError'; // its `code` is the HTTP status
  const body = errorInText(error.data?.text) ?? errorInText(error.message);
  let cause = error; // "fetch failed" alone says nothing; the innermost cause does
  while (cause.cause) cause = cause.cause;
  const fromServer = typeof error.code === 'number' && !isHttp;
  return {
    stage,
    kind: typeof error.code === 'string' ? error.code : error.constructor.name,
    status: error.status ?? (isHttp && error.code > 0 ? error.code : null),
    code: body?.code ?? (fromServer ? error.code : null),
    message: cause === error ? error.message : `${error.message} (${cause.message})`,
    data: body?.data ?? (fromServer ? error.data : null) ?? null,
    scope: error.requiredScope ?? null
  };
}

/**
 * Ends whatever still descends from us: a client may start processes that it never tells of, and not wait for them.
 * Only Linux shows them; elsewhere the Rust side, which kills the whole process group, has to do.
 */
function endDescendants(pid = process.pid) {
  let children = '';
  try {
    children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  } catch {
    return;
  }
  for (const child of children.split(' ').filter(Boolean).map(Number)) {
    endDescendants(child);
    try {
      process.kill(child, 'SIGKILL');
    } catch {
      // Gone by itself in the meantime.
    }
  }
}

/**
 * Runs `work(report)`, prints the report as one line and ends the process. `work` fills the report in and keeps
 * `report.stage` current, so that what it throws, or a time-out, is reported with the stage it belongs to.
 */
export async function drive(client, timeout, report, work) {
  const state = { client, protocol: null, ...report, error: null, stage: 'connect' };
  const limit = new Promise((_, reject) => {
    const late = Object.assign(new Error(`no answer within ${timeout / 1000} s`), { code: 'Timeout' });
    setTimeout(reject, timeout, late);
  });
  try {
    await Promise.race([work(state), limit]);
  } catch (error) {
    state.error ??= error.report ?? describe(state.stage, error);
  }
  const { stage, ...line } = state;
  endDescendants();
  process.stdout.write(`${JSON.stringify(line)}\n`, () => process.exit(0));
}

/** The negotiated version for the first SDK, whose client tells only its transport. */
export function watchProtocol(transport) {
  let seen;
  const inner = transport.setProtocolVersion?.bind(transport);
  transport.setProtocolVersion = version => {
    seen = version;
    inner?.(version);
  };
  return () => seen;
}

/** Says by a file that the tools are listed, and waits until `file` is there. */
export async function pause(file) {
  if (!file) return;
  writeFileSync(`${file}.${process.pid}`, '');
  while (!existsSync(file)) await new Promise(done => setTimeout(done, 50));
}

/** Connect, list, call, part: what each SDK driver does. */
export async function listAndCall(name, options, client, transport, protocol, callTool) {
  await drive(name, options.timeout, { listed: null, called: null }, async report => {
    try {
      await client.connect(transport);
      report.protocol = protocol() ?? null;
      report.stage = 'list';
      report.listed = (await client.listTools()).tools.map(tool => tool.name);
      await pause(options.pause);
      if (options.call) {
        report.stage = 'call';
        try {
          report.called = await callTool({ name: options.call, arguments: options.args, _meta: options.meta });
        } catch (error) {
          if (!options.again) throw error;
          report.error = describe(report.stage, error);
        }
      }
      if (options.again) {
        report.again = false;
        await client.listTools();
        report.again = true;
      }
    } finally {
      await part(client, transport).catch(() => {});
    }
  });
}
