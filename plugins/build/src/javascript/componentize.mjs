// node componentize.mjs PACKAGE SOURCE WIT WORLD OUT [FEATURE-TO-LEAVE-OUT…]
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [library, sourcePath, witPath, worldName, out, ...disableFeatures] = process.argv.slice(2);
const { componentize } = await import(pathToFileURL(join(library, "src/componentize.js")));
try {
  const { component } = await componentize({ sourcePath, witPath, worldName, disableFeatures });
  await writeFile(out, component);
} catch (error) {
  console.error(error?.message ?? error);
  process.exit(1);
}
