// What a person does on Witgate's own pages, without a browser: forms, cookies and redirects.

const unescape = text =>
  text.replace(/&(#\d+|amp|lt|gt|quot);/g, (_, name) =>
    name[0] === '#' ? String.fromCharCode(name.slice(1)) : { amp: '&', lt: '<', gt: '>', quot: '"' }[name]
  );

/** Logs in at `url` and allows everything; returns the address to which the answer leads. */
export async function logIn(url, name, password) {
  const { origin } = new URL(url);
  const cookies = new Map();
  let response = await fetch(url, { redirect: 'manual' });
  for (let step = 0; step < 8; step++) {
    for (const cookie of response.headers.getSetCookie()) {
      const [pair] = cookie.split(';');
      cookies.set(pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1));
    }
    const headers = { Cookie: [...cookies].map(pair => pair.join('=')).join('; ') };
    const place = response.headers.get('location');
    if (place) {
      const next = new URL(place, origin);
      if (next.origin !== origin) return next.href;
      response = await fetch(next, { redirect: 'manual', headers });
      continue;
    }
    const page = await response.text();
    const action = page.match(/<form method="post" action="(.*?)"/)?.[1];
    if (!action) throw new Error(`a page without a form: ${page.match(/<title>(.*?)<\/title>/)?.[1]}`);
    const fields = new URLSearchParams();
    for (const [, field, value] of page.matchAll(/<input type="hidden" name="(.*?)" value="(.*?)">/g)) {
      if (!fields.has(field)) fields.set(field, unescape(value));
    }
    if (page.includes('value="allow"')) fields.set('decision', 'allow');
    else {
      fields.set('name', name);
      fields.set('password', password);
    }
    response = await fetch(new URL(action, origin), { method: 'POST', redirect: 'manual', headers, body: fields });
  }
  throw new Error('the login does not end');
}
