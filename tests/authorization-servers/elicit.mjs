// The TypeScript MCP client that opens URLs for servers, with a person who then connects an account. Usage in README.md.
import { chromium } from 'playwright-core';

import { commandLine, describe, drive, load, part, transportFor } from '../clients/driver.mjs';
import { connectAccount, options as ofAccount } from './account.mjs';

const { Client, StreamableHTTPClientTransport } = load('@modelcontextprotocol/client');

const options = commandLine({ ...ofAccount, decline: { type: 'boolean', default: false } });

await drive('ts-elicit', options.timeout, { steps: {} }, async report => {
  const browser = await chromium.launch({
    executablePath: options.browser,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu']
  });
  const client = new Client(
    { name: 'witgate-elicit', version: '1.0.0' },
    { capabilities: { elicitation: { url: {} } }, versionNegotiation: { mode: options.mode } }
  );
  const transport = transportFor(options, { StreamableHTTPClientTransport });
  const open = async url => {
    const { page, ...steps } = await connectAccount(await browser.newContext(), url, options);
    Object.assign(report.steps, steps);
    await page.close();
  };
  client.setRequestHandler('elicitation/create', async request => {
    report.steps.asked = request.params;
    if (options.decline) return { action: 'decline' };
    await open(request.params.url);
    return { action: 'accept' };
  });
  let complete;
  const completed = new Promise(resolve => (complete = resolve));
  client.setNotificationHandler('notifications/elicitation/complete', notification =>
    complete(notification.params.elicitationId)
  );
  try {
    await client.connect(transport);
    report.protocol = client.getNegotiatedProtocolVersion() ?? null;
    report.steps.listed = (await client.listTools()).tools.map(tool => tool.name);
    const call = () => client.callTool({ name: options.call, arguments: options.args });
    try {
      report.steps.called = await call();
    } catch (error) {
      const { code, data, message } = describe('call', error);
      report.steps.refused = { code, data, message };
      const [elicitation] = data?.elicitations ?? [];
      if (!elicitation || options.decline) return;
      await open(elicitation.url);
      report.steps.completed = (await completed) === elicitation.elicitationId;
      report.steps.called = await call();
    }
  } finally {
    await part(client, transport).catch(() => {});
    await browser.close();
  }
});
