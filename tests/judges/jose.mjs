// Judges tokens by jose, which the Node clients bring along.
//
// The first line on stdin is one JSON object: jwks, algorithms, issuer, audience, leeway, now. Every further line is a
// JSON string with a token. For each, one line on stdout: "yes", or "no" and the library's own code for why.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';

const tools = process.env.WITGATE_TEST_TOOLS ?? fileURLToPath(new URL('../../target/tools', import.meta.url));
const load = createRequire(join(tools, 'package.json'));
const { createLocalJWKSet, jwtVerify } = await import(pathToFileURL(load.resolve('jose')).href);

let keys, options;
for await (const line of createInterface({ input: process.stdin })) {
  if (!keys) {
    const { jwks, algorithms, issuer, audience, leeway, now } = JSON.parse(line);
    keys = createLocalJWKSet(jwks);
    const currentDate = new Date(now * 1000);
    options = { algorithms, issuer, audience, clockTolerance: leeway, currentDate, requiredClaims: ['exp', 'sub'] };
    continue;
  }
  try {
    await jwtVerify(JSON.parse(line), keys, options);
    process.stdout.write('yes\n');
  } catch (error) {
    process.stdout.write(`no ${error.code ?? error.name}\n`);
  }
}
