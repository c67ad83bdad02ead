// Calls without pause while something changes behind it, and tells when what it gets changes; for demos and load.
//
//   steady.mjs --url URL [--header 'Name: value']... [--connections N] [--call TOOL] [--args JSON]
//              --probe TOOL [--probe-args JSON] [--long TOOL] [--long-args JSON]
//
// `--call` is called on N connections and must always succeed. `--probe` is called on one more; a line is printed whenever
// its outcome changes. `--long` is called once on that connection, when a line comes on stdin. When stdin ends, and the
// long call with it, so does everything.
//
//   {"event":"ready"}                                     every connection has made its first call
//   {"event":"probe","at":1763690000123.4,"error":null}   in ms since 1970, when the answer was there
//   {"event":"failed","error":{…}}                        no connection, or the first call failed; it ends
//   {"event":"done","calls":812,"lost":[],"slowest_ms":31.2,"long":{"text":"…","error":null,"ended":…}}
import { createInterface } from 'node:readline';
import { commandLine, describe, load, part, transportFor } from './driver.mjs';

const { Client, StreamableHTTPClientTransport } = load('@modelcontextprotocol/client');

const options = commandLine({
  connections: { type: 'string', default: '2' },
  probe: { type: 'string' },
  'probe-args': { type: 'string', default: '{}' },
  long: { type: 'string' },
  'long-args': { type: 'string', default: '{}' }
});
const say = event => process.stdout.write(`${JSON.stringify(event)}\n`);
const now = () => performance.timeOrigin + performance.now();
const text = result => result.content.map(item => item.text ?? '').join('\n');

let running = true;
let calls = 0;
let slowest = 0;
const lost = [];

async function connect() {
  const client = new Client({ name: 'witgate-steady', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
  const transport = transportFor(options, { StreamableHTTPClientTransport });
  await client.connect(transport);
  return { client, transport };
}

/** One connection's calls, one after the other; each failure is a lost request. */
async function callOn({ client }) {
  while (running) {
    const started = performance.now();
    calls += 1;
    try {
      const result = await client.callTool({ name: options.call, arguments: options.args });
      if (result.isError) throw new Error(text(result));
    } catch (error) {
      lost.push(describe('call', error));
    }
    slowest = Math.max(slowest, performance.now() - started);
  }
}

/** The outcome of one call: null, or its error. */
async function outcome(client, name, args) {
  try {
    const result = await client.callTool({ name, arguments: JSON.parse(args) });
    return { text: text(result), error: null };
  } catch (error) {
    return { text: null, error: describe('call', error) };
  }
}

async function probeOn({ client }) {
  let before;
  while (running) {
    const { error } = await outcome(client, options.probe, options['probe-args']);
    const seen = error?.data?.reason ?? error?.message ?? 'allowed';
    if (seen !== before) say({ event: 'probe', at: now(), error });
    before = seen;
  }
}

// What goes wrong before or beside the calls is said in the same way.
process.on('uncaughtException', error => {
  process.stdout.write(`${JSON.stringify({ event: 'failed', error: describe('connect', error) })}\n`, () => process.exit(1));
});

const busy = await Promise.all(Array.from({ length: Number(options.connections) }, connect));
const probing = await connect();
const connections = [...busy, probing];
// A first call each, so that what starts on demand has started.
await Promise.all(busy.map(({ client }) => client.callTool({ name: options.call, arguments: options.args })));
const work = [...busy.map(callOn), probeOn(probing)];
say({ event: 'ready' });

let long = null;
for await (const _ of createInterface({ input: process.stdin })) {
  long ??= outcome(probing.client, options.long, options['long-args']).then(result => ({ ...result, ended: now() }));
}
const ended = await long;
running = false;
await Promise.all(work);
say({ event: 'done', calls, lost, slowest_ms: slowest, long: ended });
await Promise.all(connections.map(({ client, transport }) => part(client, transport).catch(() => {})));
process.exit(0);
