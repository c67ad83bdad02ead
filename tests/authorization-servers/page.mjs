// The TypeScript MCP client in a page of a real browser, which has its user log in. Usage in README.md.
import { commandLine, drive } from '../clients/driver.mjs';
import * as chromium from './chromium.mjs';
import { fillIn } from './person.mjs';

const options = commandLine({
  ...chromium.options,
  name: { type: 'string' },
  password: { type: 'string' },
  scope: { type: 'string' },
  decline: { type: 'string' }, // a scope that the person does not grant at the first login
  tools: { type: 'string' } // [[tool, arguments], …]
});
const { url, mode, scope } = options;
const settings = { url, mode, scope, tools: JSON.parse(options.tools) };
const { origin, browser, close } = await chromium.open(options, 'page-client.mjs', settings);

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
    await close();
  }
});
