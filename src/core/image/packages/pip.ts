// pip: `<site-packages>/<name>-<version>.dist-info/METADATA` (PEP 376, PEP 427) or the older egg-info.
import { toPackage, type InstalledPackage, type PackageRecords } from "./installed-package.ts";
import { readStanzas } from "./stanzas.ts";

const RECORD = /\.dist-info\/METADATA$|\.egg-info(?:\/PKG-INFO)?$/;
const FOLDER = /(?:^|\/)([^/]+?)-([^-/]+?)(?:-py[\d.]+)?\.(?:dist|egg)-info(?:\/|$)/;

/** Reads the core metadata of Python distributions. */
export const pipRecords: PackageRecords = {
  ecosystem: "pip",
  isRecord: (path) => RECORD.test(path),
  read(text, path) {
    for (const stanza of readStanzas(text)) {
      const [found] = toPackage("pip", stanza.get("name"), stanza.get("version"));
      return found === undefined ? readPipPath(path) : [{ ...found, name: normalizePipName(found.name) }];
    }
    return readPipPath(path);
  },
};

/** The package that the name of its folder tells. */
export function readPipPath(path: string): readonly InstalledPackage[] {
  const [, name, version] = FOLDER.exec(path) ?? [];
  if (name === undefined || version === undefined) return [];
  return [{ ecosystem: "pip", name: normalizePipName(name), version, build: "" }];
}

/** PEP 503: case and runs of `-`, `_`, `.` do not matter. */
export function normalizePipName(name: string): string {
  return name.toLowerCase().replaceAll(/[-_.]+/g, "-");
}
