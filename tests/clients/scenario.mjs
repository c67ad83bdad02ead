// What one call cannot show: progress, cancellation, requests from the server, subscriptions, logging, lists, tasks,
// against a server with server-everything's tools. `--sdk ts-client|ts-sdk` picks the SDK; usage in README.md.
import { setTimeout as pause } from 'node:timers/promises';
import { commandLine, describe, drive, load, part, transportFor, watchProtocol } from './driver.mjs';

const options = commandLine({
  sdk: { type: 'string', default: 'ts-sdk' },
  only: { type: 'string', multiple: true, default: [] }
});
const asked = { sampling: 0, elicitation: 0, roots: 0 };
const received = []; // every notification, as it came off the transport and before any SDK handler
const capabilities = { sampling: {}, elicitation: { form: {} }, roots: { listChanged: true } };
const info = { name: 'witgate-scenario', version: '1.0.0' };
const answers = {
  'sampling/createMessage': () => {
    asked.sampling += 1;
    return { role: 'assistant', model: 'stub', content: { type: 'text', text: 'sampled by the client' } };
  },
  'elicitation/create': () => {
    asked.elicitation += 1;
    return { action: 'accept', content: { name: 'Ada', interpretation: 'technical' } };
  },
  'roots/list': () => {
    asked.roots += 1;
    return { roots: [{ uri: 'file:///srv/witgate-scenario', name: 'scenario' }] };
  }
};

/** The two SDKs behind one face. */
function firstSdk() {
  const { Client } = load('@modelcontextprotocol/sdk/client/index.js');
  const { StreamableHTTPClientTransport } = load('@modelcontextprotocol/sdk/client/streamableHttp.js');
  const { StdioClientTransport } = load('@modelcontextprotocol/sdk/client/stdio.js');
  const types = load('@modelcontextprotocol/sdk/types.js');
  const client = new Client(info, { capabilities });
  client.setRequestHandler(types.CreateMessageRequestSchema, answers['sampling/createMessage']);
  client.setRequestHandler(types.ElicitRequestSchema, answers['elicitation/create']);
  client.setRequestHandler(types.ListRootsRequestSchema, answers['roots/list']);
  const transport = transportFor(options, { StreamableHTTPClientTransport, StdioClientTransport });
  const protocol = watchProtocol(transport);
  return { client, transport, protocol, call: (params, how) => client.callTool(params, undefined, how) };
}

function secondSdk() {
  const { Client, StreamableHTTPClientTransport } = load('@modelcontextprotocol/client');
  const { StdioClientTransport } = load('@modelcontextprotocol/client/stdio');
  const mode = ['auto', 'legacy'].includes(options.mode) ? options.mode : { pin: options.mode };
  const client = new Client(info, { capabilities, versionNegotiation: { mode } });
  for (const [method, answer] of Object.entries(answers)) client.setRequestHandler(method, answer);
  const transport = transportFor(options, { StreamableHTTPClientTransport, StdioClientTransport });
  const protocol = () => client.getNegotiatedProtocolVersion();
  return { client, transport, protocol, call: (params, how) => client.callTool(params, how) };
}

const { client, transport, protocol, call } = options.sdk === 'ts-client' ? secondSdk() : firstSdk();
const modern = () => protocol() >= '2026-07-28';
const tool = (name, args = {}, how = undefined) => call({ name, arguments: args }, how);
const text = result => result.content.map(item => item.text ?? '').join('\n');
const names = list => list.map(item => item.name);
const notified = (method, from = 0) =>
  received.slice(from).filter(message => message.method === `notifications/${method}`);

/** Waits, at most `limit` ms, for a notification that came after the `from`th; some cross another stream than the answer. */
async function awaitNotification(method, from, limit = 3000) {
  for (const end = Date.now() + limit; Date.now() < end; await pause(20)) {
    const found = notified(method, from);
    if (found.length > 0) return found;
  }
  return [];
}

const steps = {
  async tools() {
    return { names: names((await client.listTools()).tools) };
  },

  async prompts() {
    const { prompts } = await client.listPrompts();
    const { messages } = await client.getPrompt({ name: 'simple-prompt' });
    return { names: names(prompts), messages: messages.length };
  },

  async resources() {
    const { resources } = await client.listResources();
    const { resourceTemplates } = await client.listResourceTemplates();
    const { contents } = await client.readResource({ uri: 'demo://resource/dynamic/text/1' });
    return {
      uris: resources.map(resource => resource.uri),
      templates: resourceTemplates.map(template => template.uriTemplate),
      read: contents[0].text
    };
  },

  async completion() {
    const ref = { type: 'ref/prompt', name: 'completable-prompt' };
    const { completion } = await client.complete({ ref, argument: { name: 'department', value: 'E' } });
    return { values: completion.values };
  },

  async progress() {
    const from = received.length;
    const handled = [];
    const onprogress = ({ progress }) => handled.push(progress);
    const result = await tool('trigger-long-running-operation', { duration: 1, steps: 8 }, { onprogress });
    // `received` is the judge: over stdio an SDK drops the last one when it is read together with the answer.
    return { expected: 8, received: notified('progress', from).map(m => m.params.progress), handled, text: text(result) };
  },

  async cancellation() {
    const from = received.length;
    const aborter = new AbortController();
    let seen = 0;
    const onprogress = () => ++seen === 2 && aborter.abort('enough');
    const started = Date.now();
    const outcome = await tool(
      'trigger-long-running-operation',
      { duration: 6, steps: 30 },
      { onprogress, signal: aborter.signal }
    ).then(
      () => 'completed',
      error => error.message ?? String(error)
    );
    const elapsed = Date.now() - started;
    await pause(600);
    const progressed = notified('progress', from).length;
    await pause(600);
    const later = notified('progress', from).length;
    return { outcome, elapsed_ms: elapsed, progress_went_on: later > progressed, alive: text(await tool('echo', { message: 'still here' })) };
  },

  async sampling() {
    const result = await tool('trigger-sampling-request', { prompt: 'hello', maxTokens: 10 });
    return { asked: asked.sampling, answered: text(result).includes('sampled by the client') };
  },

  async elicitation() {
    const result = await tool('trigger-elicitation-request');
    return { asked: asked.elicitation, answered: text(result).includes('Ada') };
  },

  async roots() {
    // server-everything asks by itself, 350 ms after the handshake.
    for (const end = Date.now() + 3000; asked.roots === 0 && Date.now() < end; ) await pause(20);
    return { asked: asked.roots, answered: text(await tool('get-roots-list')).includes('witgate-scenario') };
  },

  async subscription() {
    const uri = 'demo://resource/dynamic/text/1';
    const from = received.length;
    const stream = modern()
      ? await client.listen({ resourceSubscriptions: [uri] })
      : await client.subscribeResource({ uri });
    await tool('toggle-subscriber-updates');
    const updates = await awaitNotification('resources/updated', from);
    await tool('toggle-subscriber-updates');
    await (modern() ? stream.close() : client.unsubscribeResource({ uri }));
    return { updated: updates.map(message => message.params.uri) };
  },

  async logging() {
    if (!modern()) await client.setLoggingLevel('debug');
    const from = received.length;
    await tool('toggle-simulated-logging');
    const messages = await awaitNotification('message', from);
    await tool('toggle-simulated-logging');
    return { messages: messages.map(message => message.params.data) };
  },

  async list_changed() {
    const from = received.length;
    // Adds a resource to the session; no network in it, the content is in the URI. The server has each name in one
    // session only, and takes it from whoever had it before: another scenario that runs beside this one.
    const name = `${process.pid}.gz`;
    await tool('gzip-file-as-resource', { name, data: 'data:text/plain;base64,aGVsbG8=', outputType: 'resourceLink' });
    const changed = await awaitNotification('resources/list_changed', from);
    const { resources } = await client.listResources();
    return {
      resources: changed.length,
      listed: resources.some(resource => resource.uri.endsWith(`/${name}`)),
      // Sent right after the handshake, so over HTTP it is lost where the GET stream is not open yet.
      tools: notified('tools/list_changed').length
    };
  },

  async task() {
    const tasks = client.experimental?.tasks;
    if (!tasks?.callToolStream) return { skipped: `${options.sdk} has no tasks` };
    await client.listTools(); // tells the client which tools run as tasks
    const params = { name: 'simulate-research-query', arguments: { topic: 'gateways', ambiguous: true } };
    const before = asked.elicitation;
    const states = [];
    for await (const message of tasks.callToolStream(params)) {
      if (message.type === 'error') throw message.error;
      states.push(message.type === 'result' ? 'result' : message.task.status);
    }
    const seen = states.filter((state, at) => state !== states[at - 1]);
    return { states: seen, asked: asked.elicitation - before };
  }
};

await drive(`scenario-${options.sdk}`, options.timeout, { steps: {} }, async report => {
  try {
    await client.connect(transport);
    report.protocol = protocol();
    const inner = transport.onmessage;
    transport.onmessage = (message, extra) => {
      if (message.method && message.id === undefined) received.push(message);
      inner(message, extra);
    };
    for (const [name, step] of Object.entries(steps)) {
      if (options.only.length > 0 && !options.only.includes(name)) continue;
      report.stage = name;
      // One step's failure says nothing about the next one.
      report.steps[name] = await step().catch(error => ({ error: describe(name, error) }));
    }
  } finally {
    await part(client, transport).catch(() => {});
  }
});
