#!/usr/bin/env node
// The `lighter` command: hands over to the compiled CLI under the pinned Node.
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

process.argv.splice(2, 0, "--build", "src/cli/main");
await import(join(dirname(fileURLToPath(import.meta.url)), "run.mjs"));
