// Finds and imports the app's entry files, which register functions as they load.
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { FunctionsHostError } from "./errors.ts";

/** Where the app is: a folder with a package.json whose `main` is a file or glob, or explicit files of that folder. */
export interface AppLocation {
  readonly folder: string;
  readonly entries?: readonly string[];
}

/** The content of the app's host.json; undefined if it has none. */
export function readHostJson(folder: string): unknown {
  const file = join(folder, "host.json");
  if (!existsSync(file)) return undefined;
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (cause) {
    throw new FunctionsHostError("BAD_HOST_JSON", { operation: "read", subject: file, got: String(cause), cause });
  }
}

/** Imports the entry files in order of name; throws APP_LOAD_FAILED naming the file. */
export async function loadApp(app: AppLocation): Promise<string[]> {
  const files =
    app.entries === undefined ? findEntries(app.folder) : app.entries.map((entry) => join(app.folder, entry));
  for (const file of files) {
    try {
      await import(pathToFileURL(file).href);
    } catch (cause) {
      throw new FunctionsHostError("APP_LOAD_FAILED", {
        operation: "import",
        subject: file,
        got: String(cause),
        cause,
      });
    }
  }
  return files;
}

function findEntries(folder: string): string[] {
  let main: unknown;
  try {
    ({ main } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { main?: unknown });
  } catch (cause) {
    throw new FunctionsHostError("APP_LOAD_FAILED", { operation: "read package.json of", subject: folder, cause });
  }
  const files = typeof main === "string" ? globSync(main, { cwd: folder }).sort() : [];
  if (files.length === 0) {
    throw new FunctionsHostError("APP_LOAD_FAILED", {
      operation: "find entry files of",
      subject: folder,
      got: `main ${JSON.stringify(main)}`,
      want: "a glob that matches files",
    });
  }
  return files.map((file) => join(folder, file));
}
