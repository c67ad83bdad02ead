// Reads URIs, names and numbers as servers on Node.js do: by URL, which the official SDK normalises with, by
// String.normalize and as doubles.
//
// Every line on stdin is a JSON object with one member, `uri`, `name` or `number`. For each, one line of JSON on stdout:
// what is read, or null where it is refused.
import { createInterface } from 'node:readline';

function url(uri) {
  if (!URL.canParse(uri)) return null;
  const { href, protocol, hostname, pathname, search, hash } = new URL(uri);
  return [href, protocol.slice(0, -1), hostname.replace(/^\[|\]$/g, ''), pathname, search.slice(1), hash.slice(1)];
}

for await (const line of createInterface({ input: process.stdin })) {
  const { uri, name, number } = JSON.parse(line);
  const said =
    uri !== undefined ? url(uri) : name !== undefined ? name.normalize('NFC') : String(Number(number));
  process.stdout.write(`${JSON.stringify(said)}\n`);
}
