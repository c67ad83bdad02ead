// Adds a passkey to an account of Witgate and logs in with it alone, in a real browser with a virtual authenticator.
// Usage in README.md.
import { chromium } from 'playwright-core';

import { commandLine, drive } from '../clients/driver.mjs';

const options = commandLine({
  browser: { type: 'string' },
  name: { type: 'string' },
  password: { type: 'string' }
});

await drive('passkey', options.timeout, { steps: {} }, async report => {
  const browser = await chromium.launch({
    executablePath: options.browser,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu']
  });
  try {
    const context = await browser.newContext();
    const page = await context.newPage();
    const complaints = (report.steps.complaints = []);
    const isIcon = message => message.location().url.endsWith('/favicon.ico');
    page.on('console', message => isIcon(message) || complaints.push(message.text()));
    page.on('pageerror', error => complaints.push(String(error)));

    const device = await context.newCDPSession(page);
    await device.send('WebAuthn.enable');
    const { authenticatorId } = await device.send('WebAuthn.addVirtualAuthenticator', {
      options: {
        protocol: 'ctap2',
        transport: 'internal',
        hasResidentKey: true,
        hasUserVerification: true,
        isUserVerified: true
      }
    });
    const heading = () => page.getByRole('heading', { level: 1 }).textContent();
    const press = name => Promise.all([page.waitForNavigation(), page.getByRole('button', { name }).click()]);
    const end = () => context.clearCookies();

    await page.goto(new URL('/login', options.url).href);
    await page.getByLabel('Name').fill(options.name);
    await page.getByLabel('Password').fill(options.password);
    await press('Log in');
    await page.getByRole('link', { name: 'Passkeys' }).click();
    await page.getByLabel('Name of the device').fill('Test device');
    await page.getByLabel('Your password').fill(options.password);
    await press('Go on');
    await press('Make the passkey');
    report.steps.added = await page.getByRole('listitem').allTextContents();

    await end();
    await page.goto(new URL('/login', options.url).href);
    await page.getByRole('link', { name: 'Log in with a passkey' }).click();
    await press('Log in with a passkey');
    report.steps.loggedIn = await heading();

    // A person whom the device does not recognise is not let in.
    await end();
    await device.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false });
    await page.goto(new URL('/login/passkey', options.url).href);
    await page.getByRole('button', { name: 'Log in with a passkey' }).click();
    const problem = page.locator('#problem');
    await problem.waitFor({ state: 'visible' });
    report.steps.unverified = await problem.textContent();
  } finally {
    await browser.close();
  }
});
