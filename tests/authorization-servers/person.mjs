// What a person does on an authorization server's pages.

/** Goes through them until the browser is at `end`; returns their titles. `through` is a provider to log in at. */
export async function fillIn(page, end, { name, password, decline, through }) {
  const seen = [];
  while (!page.url().startsWith(end)) {
    seen.push(await page.title());
    if (seen.length > 4) throw new Error(`the login does not end: ${seen}`);
    const provider = page.getByRole('button', { name: `Log in with ${through}` });
    if (through && (await provider.count())) {
      if (seen.length > 1) throw new Error(`the login is refused: ${await page.getByRole('alert').textContent()}`);
      await Promise.all([page.waitForNavigation(), provider.click()]);
      continue;
    }
    if (await page.getByLabel('Name').count()) {
      await page.getByLabel('Name').fill(name);
      await page.getByLabel('Password').fill(password);
    }
    const unwanted = page.getByLabel(decline ?? 'nothing');
    if (await unwanted.count()) await unwanted.uncheck();
    const allow = page.getByRole('button', { name: 'Allow' });
    const button = (await allow.count()) ? allow : page.getByRole('button');
    await Promise.all([page.waitForNavigation(), button.click()]);
  }
  return seen;
}
