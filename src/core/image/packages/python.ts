// Python itself, told from where its standard library lies: `<prefix>/lib/python<version>/os.py`.
import type { InstalledPackage } from "./installed-package.ts";

const MARKER = /(?:^|\/)lib\/python(\d+\.\d+)\/os\.py$/;

/** The Python that a path belongs to, if it is the mark of one. */
export function readPythonPath(path: string): readonly InstalledPackage[] {
  const version = MARKER.exec(path)?.[1];
  return version === undefined ? [] : [{ ecosystem: "python", name: "python", version, build: "" }];
}
