'use strict';
// Asks the browser for a passkey, and sends its answer with the form of the page.

const form = document.querySelector('form[data-action]');
const problem = document.querySelector('#problem');
const bytes = text => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), c => c.charCodeAt(0));
const text = buffer =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');

async function create() {
  const { host, user, name, known } = form.dataset;
  const credential = await navigator.credentials.create({
    publicKey: {
      challenge: bytes(form.elements.challenge.value),
      rp: { id: host, name: host },
      user: { id: new TextEncoder().encode(user), name, displayName: name },
      pubKeyCredParams: [-7, -8, -257].map(alg => ({ type: 'public-key', alg })),
      authenticatorSelection: { residentKey: 'required', requireResidentKey: true, userVerification: 'required' },
      excludeCredentials: known.split(' ').filter(Boolean).map(id => ({ type: 'public-key', id: bytes(id) })),
      attestation: 'none'
    }
  });
  const { response } = credential;
  return {
    credential: text(credential.rawId),
    algorithm: String(response.getPublicKeyAlgorithm()),
    key: text(response.getPublicKey()),
    data: text(response.getAuthenticatorData()),
    client: text(response.clientDataJSON)
  };
}

async function get() {
  const credential = await navigator.credentials.get({
    publicKey: {
      challenge: bytes(form.elements.challenge.value),
      rpId: form.dataset.host,
      userVerification: 'required'
    }
  });
  const { response } = credential;
  return {
    credential: text(credential.rawId),
    data: text(response.authenticatorData),
    client: text(response.clientDataJSON),
    signature: text(response.signature),
    user: response.userHandle ? new TextDecoder().decode(response.userHandle) : ''
  };
}

function say(sentence) {
  problem.textContent = sentence;
  problem.hidden = false;
}

form.addEventListener('submit', event => {
  event.preventDefault();
  problem.hidden = true;
  const ask = form.dataset.action === 'create' ? create : get;
  ask().then(
    fields => {
      for (const [name, value] of Object.entries(fields)) form.elements[name].value = value;
      form.submit();
    },
    error => say(error.name === 'InvalidStateError' ? 'This device has a passkey already.' : 'That did not work. Try again.')
  );
});

if (!window.PublicKeyCredential) say('This browser has no passkeys.');
