// Finds the records of all ecosystems among the files of a layer and reads them.
import { apkRecords } from "./apk.ts";
import { condaRecords, readCondaPath } from "./conda.ts";
import { dpkgRecords } from "./dpkg.ts";
import type { InstalledPackage, PackageRecords } from "./installed-package.ts";
import { npmRecords } from "./npm.ts";
import { osRecords } from "./os-release.ts";
import { pipRecords, readPipPath } from "./pip.ts";
import { readPythonPath } from "./python.ts";

const ALL: readonly PackageRecords[] = [npmRecords, pipRecords, condaRecords, dpkgRecords, apkRecords, osRecords];

/** Larger records are not read; a database of 10,000 packages takes about as much. */
export const MAX_RECORD_BYTES: number = 8 * 1024 * 1024;

/** The last letters of every record's path but those in `status.d`: a test that is made for every file. */
const MAY_BE_RECORD = /(?:\.json|METADATA|-info|PKG-INFO|status|installed|os-release)$|\/status\.d\//;

/** The ecosystem that has to read a file, if its path is that of a record. */
export function findRecords(path: string): PackageRecords | undefined {
  return MAY_BE_RECORD.test(path) ? ALL.find((records) => records.isRecord(path)) : undefined;
}

/** The packages that a path alone tells of, as far as it does. */
export function readRecordPath(path: string): readonly InstalledPackage[] {
  for (const read of [readCondaPath, readPipPath, readPythonPath]) {
    const found = read(path);
    if (found.length > 0) return found;
  }
  return [];
}
