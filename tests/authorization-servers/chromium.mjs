// A page of an origin of its own, in a real browser.
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

import { load, tools } from '../clients/driver.mjs';

const { rolldown } = load('rolldown');

/** What every driver of a page takes beside the common command line. */
export const options = {
  browser: { type: 'string' },
  page: { type: 'string' } // the port of the page, whose origin Witgate may let in
};

/** The page's script: the SDK is looked for where it is installed, which is not beside the script. */
async function bundled(script) {
  const bundle = await rolldown({
    input: fileURLToPath(new URL(script, import.meta.url)),
    platform: 'browser',
    resolve: { modules: [join(tools, 'node_modules')] },
    logLevel: 'silent'
  });
  return (await bundle.generate({ format: 'esm', codeSplitting: false })).output[0].code;
}

/** Serves a page with this script and these settings, and starts a browser. */
export async function open({ browser: program, page: port }, script, settings) {
  const origin = `http://127.0.0.1:${port}`;
  const files = {
    '/': ['text/html', '<!doctype html><title>Page</title><script type="module" src="/client.js"></script>'],
    '/client.js': ['text/javascript', await bundled(script)],
    '/settings.json': ['application/json', JSON.stringify(settings)]
  };
  const server = createServer((request, response) => {
    const [type, text] = files[new URL(request.url, origin).pathname] ?? [];
    response.writeHead(type ? 200 : 404, { 'Content-Type': `${type ?? 'text/plain'}; charset=utf-8` });
    response.end(text);
  });
  await new Promise(listening => server.listen(Number(port), '127.0.0.1', listening));
  const browser = await chromium.launch({
    executablePath: program,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu']
  });
  const close = async () => {
    await browser.close();
    server.close();
  };
  return { origin, browser, close };
}
