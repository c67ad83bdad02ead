// What a person sees while logging in.

const page = (title, body) =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title></head><body><h1>${title}</h1>${body}</body></html>`;

const escaped = text => String(text).replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);

export const loginPage = () =>
  page(
    'Log in',
    `<form method="post">
      <label>Name <input name="name" autocomplete="username"></label>
      <label>Password <input name="password" type="password" autocomplete="current-password"></label>
      <button>Log in</button>
    </form>`
  );

const box = scope =>
  `<label><input type="checkbox" name="scope" value="${escaped(scope)}" checked>${escaped(scope)}</label>`;

export const consentPage = params =>
  page(
    'Allow access',
    `<p>${escaped(params.client_id)} asks for access to ${escaped(params.resource)}.</p>
    <form method="post">${(params.scope ?? '').split(' ').map(box).join('')}<button>Allow</button></form>`
  );
