// The TypeScript MCP client in a page of a real browser, which has its user log in. Usage in README.md.
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

import { commandLine, drive, load, tools } from '../clients/driver.mjs';
import { fillIn } from './person.mjs';

const { rolldown } = load('rolldown');

const options = commandLine({
  browser: { type: 'string' },
  name: { type: 'string' },
  password: { type: 'string' },
  scope: { type: 'string' },
  decline: { type: 'string' }, // a scope that the person does not grant at the first login
  tools: { type: 'string' }, // [[tool, arguments], …]
  page: { type: 'string' } // the port of the page, whose origin Witgate may let in
});
const origin = `http://127.0.0.1:${options.page}`;

/** The page's script: the SDK is looked for where it is installed, which is not beside the script. */
async function bundled() {
  const bundle = await rolldown({
    input: fileURLToPath(new URL('page-client.mjs', import.meta.url)),
    platform: 'browser',
    resolve: { modules: [join(tools, 'node_modules')] },
    logLevel: 'silent'
  });
  return (await bundle.generate({ format: 'esm', codeSplitting: false })).output[0].code;
}

const { url, mode, scope } = options;
const files = {
  '/': ['text/html', '<!doctype html><title>Page</title><script type="module" src="/client.js"></script>'],
  '/client.js': ['text/javascript', await bundled()],
  '/settings.json': ['application/json', JSON.stringify({ url, mode, scope, tools: JSON.parse(options.tools) })]
};
const server = createServer((request, response) => {
  const [type, text] = files[new URL(request.url, origin).pathname] ?? [];
  response.writeHead(type ? 200 : 404, { 'Content-Type': `${type ?? 'text/plain'}; charset=utf-8` });
  response.end(text);
});
await new Promise(listening => server.listen(Number(options.page), '127.0.0.1', listening));

const browser = await chromium.launch({
  executablePath: options.browser,
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu']
});

/** Waits until the page has done all, or has sent its user to the authorization server. */
async function settled(page) {
  for (;;) {
    if (!page.url().startsWith(origin)) return undefined;
    const report = await page.evaluate(() => window.report).catch(() => undefined);
    if (report) return report;
    await page.waitForTimeout(50);
  }
}

await drive('ts-page', options.timeout, { steps: {} }, async state => {
  const logins = [];
  try {
    const page = await browser.newPage();
    page.on('console', message => console.error(message.text()));
    await page.goto(origin);
    let report;
    while (!(report = await settled(page))) {
      if (logins.length > 2) throw new Error('it logs in for ever');
      await page.waitForLoadState();
      logins.push(await fillIn(page, origin, { ...options, decline: logins.length ? undefined : options.decline }));
    }
    Object.assign(state, { protocol: report.protocol, stage: report.stage, steps: report.steps });
    state.steps.error = report.error;
  } finally {
    state.steps.logins = logins;
    await browser.close();
    server.close();
  }
});
