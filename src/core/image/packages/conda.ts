// conda: one JSON file per package in `<environment>/conda-meta/`, named `<name>-<version>-<build>.json`.
import { parseObject, toPackage, type InstalledPackage, type PackageRecords } from "./installed-package.ts";

const RECORD = /(?:^|\/)conda-meta\/[^/]+-[^-/]+-[^-/]+\.json$/;
const NAME = /(?:^|\/)conda-meta\/([^/]+)-([^-/]+)-([^-/]+)\.json$/;

/** Reads conda's records. */
export const condaRecords: PackageRecords = {
  ecosystem: "conda",
  isRecord: (path) => RECORD.test(path),
  read(text, path) {
    const { name, version, build } = parseObject(text) ?? {};
    const found = toPackage("conda", name, version, build);
    return found.length > 0 ? found : readCondaPath(path);
  },
};

/** The package that the name of a record tells. */
export function readCondaPath(path: string): readonly InstalledPackage[] {
  const [, name, version, build] = NAME.exec(path) ?? [];
  return name === undefined || version === undefined || build === undefined
    ? []
    : [{ ecosystem: "conda", name, version, build }];
}
