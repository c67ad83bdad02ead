// Connects an account on Witgate's page, and perhaps disconnects it. Usage in README.md.
import { chromium } from 'playwright-core';

import { commandLine, drive } from '../clients/driver.mjs';
import { connectAccount, options as ofAccount, said } from './account.mjs';
import { fillIn } from './person.mjs';

const options = commandLine({
  ...ofAccount,
  provider: { type: 'boolean', default: false }, // the page is that of the provider
  end: { type: 'string' }, // where the provider leads back to then
  disconnect: { type: 'boolean', default: false }
});

await drive('connect', options.timeout, { steps: {} }, async report => {
  const browser = await chromium.launch({
    executablePath: options.browser,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu']
  });
  try {
    const context = await browser.newContext();
    if (options.provider) {
      const page = await context.newPage();
      await page.goto(options.url);
      report.steps.pages = await fillIn(page, options.end, options);
      return;
    }
    const { page, ...steps } = await connectAccount(context, options.url, options);
    Object.assign(report.steps, steps);
    if (options.disconnect) {
      await Promise.all([page.waitForNavigation(), page.getByRole('button').click()]);
      report.steps.disconnected = (await said(page)).heading;
    }
  } finally {
    await browser.close();
  }
});
