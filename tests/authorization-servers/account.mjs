// What a person does who connects an account on Witgate's page, in a real browser.
import { fillIn } from './person.mjs';

export const options = {
  browser: { type: 'string' },
  credential: { type: 'string' }, // what the person shows to Witgate; none where the page shows a number
  name: { type: 'string' },
  password: { type: 'string' }
};

/** Opens the page, shows the credential, logs in at the provider, and says what the last page says. */
export async function connectAccount(context, url, { credential, name, password }) {
  const page = await context.newPage();
  const complaints = [];
  // A browser asks for an icon by itself.
  const isIcon = message => message.location().url.endsWith('/favicon.ico');
  page.on('console', message => isIcon(message) || complaints.push(message.text()));
  page.on('pageerror', error => complaints.push(String(error)));
  const origin = new URL(url).origin;
  await page.goto(url);
  const number = await page.locator('.number').allTextContents();
  if (credential) await page.getByLabel('Key, token or password').fill(credential);
  await Promise.all([page.waitForNavigation(), page.getByRole('button').click()]);
  const pages = page.url().startsWith(origin) ? [] : await fillIn(page, origin, { name, password });
  return { page, pages, ...(await said(page)), number: number[0] ?? null, complaints };
}

/** The heading and the warnings of a page. */
export async function said(page) {
  return {
    heading: await page.getByRole('heading').textContent(),
    alerts: await page.getByRole('alert').allTextContents()
  };
}
