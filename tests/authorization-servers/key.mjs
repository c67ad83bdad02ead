// The TypeScript MCP client in a page of a real browser, with a key in a header. Usage in README.md.
import { commandLine, listAndCall } from '../clients/driver.mjs';
import * as chromium from './chromium.mjs';

const options = commandLine(chromium.options);
const { url, mode, header } = options;
const { origin, browser, close } = await chromium.open(options, 'key-client.mjs', { url, mode, header });
const page = await browser.newPage();
page.on('console', message => console.error(message.text()));
await page.goto(origin);
await page.waitForFunction(() => window.take);

/** A step that the page takes; its errors are the SDK's, as far as they can leave the page. */
const step = name => async argument => {
  const { value, error } = await page.evaluate(([name, argument]) => window.take(name, argument), [name, argument]);
  if (!error) return value;
  const Named = { [error.name]: class extends Error {} }[error.name];
  throw Object.assign(new Named(error.message), error.rest, error.cause && { cause: new Error(error.cause) });
};

let protocol;
const client = {
  connect: async () => {
    await step('connect')();
    protocol = await step('protocol')();
  },
  listTools: step('listTools'),
  close: async () => {
    await step('close')();
    await close();
  }
};
const transport = { terminateSession: step('terminateSession') };

await listAndCall('ts-key-page', options, client, transport, () => protocol, step('callTool'));
