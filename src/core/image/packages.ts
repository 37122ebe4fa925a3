// Reads package changes off the paths by which package managers record what is installed.
import { displayPath } from "./entry-path.ts";

/** A package that came, went or changed; `from` or `to` is null where it is absent. */
export interface PackageChange {
  readonly ecosystem: "conda" | "pip";
  readonly name: string;
  readonly from: string | null;
  readonly to: string | null;
}

interface InstalledPackage {
  readonly ecosystem: PackageChange["ecosystem"];
  /** Folder of the record: the same package may be installed in several environments. */
  readonly environment: string;
  readonly name: string;
  readonly version: string;
  readonly build: string;
}

/** conda: `<environment>/conda-meta/<name>-<version>-<build>.json`. */
const CONDA = /^(.*?)\/?conda-meta\/([^/]+)-([^-/]+)-([^-/]+)\.json$/;
/** pip: `<site-packages>/<name>-<version>.dist-info/…` (PEP 376, PEP 427) or the older `.egg-info`. */
const PIP = /^(.*?)\/?([^/]+?)-([^-/]+?)(?:-py[\d.]+)?\.(?:dist|egg)-info(?:\/|$)/;

/** The package that a path (a byte string) is the record of. */
function packageOf(path: string): InstalledPackage | undefined {
  const [, environment = "", name = "", version = "", build = ""] = CONDA.exec(path) ?? [];
  if (name !== "") return { ecosystem: "conda", environment, name, version, build };
  const [, folder = "", distribution = "", release = ""] = PIP.exec(path) ?? [];
  if (distribution === "") return undefined;
  return { ecosystem: "pip", environment: folder, name: normalizeName(distribution), version: release, build: "" };
}

/** PEP 503: case and runs of `-`, `_`, `.` do not matter. */
function normalizeName(name: string): string {
  return name.toLowerCase().replaceAll(/[-_.]+/g, "-");
}

/**
 * Lists the packages whose records appeared or disappeared, sorted by ecosystem and name.
 *
 * A version that only its conda build tells apart is written `version-build`. What pip records about a package that
 * conda reports as well is left out.
 */
export function listPackageChanges(added: Iterable<string>, removed: Iterable<string>): readonly PackageChange[] {
  const before = collect(removed);
  const after = collect(added);
  for (const key of before.keys()) {
    if (!after.has(key)) continue;
    before.delete(key);
    after.delete(key);
  }
  const changes = new Map<string, PackageChange>();
  const left = [...before.values()];
  for (const to of after.values()) {
    const at = left.findIndex((from) => slotOf(from) === slotOf(to));
    const from = at === -1 ? undefined : left.splice(at, 1)[0];
    addChange(changes, from, to);
  }
  for (const from of left) addChange(changes, from, undefined);
  return [...changes.values()]
    .filter(({ ecosystem, name }) => ecosystem === "conda" || !isReportedByConda(changes, name))
    .sort((one, other) => (keyOf(one) < keyOf(other) ? -1 : 1));
}

function collect(paths: Iterable<string>): Map<string, InstalledPackage> {
  const found = new Map<string, InstalledPackage>();
  for (const path of paths) {
    const installed = packageOf(path);
    if (installed) found.set(`${slotOf(installed)} ${installed.version} ${installed.build}`, installed);
  }
  return found;
}

function slotOf({ ecosystem, environment, name }: InstalledPackage): string {
  return `${ecosystem} ${environment} ${name}`;
}

function addChange(
  changes: Map<string, PackageChange>,
  from: InstalledPackage | undefined,
  to: InstalledPackage | undefined,
): void {
  const some = to ?? from;
  if (some === undefined) return;
  const isRebuilt = from !== undefined && from.version === to?.version;
  const write = (one: InstalledPackage | undefined): string | null =>
    one === undefined ? null : displayPath(isRebuilt ? `${one.version}-${one.build}` : one.version);
  const change = { ecosystem: some.ecosystem, name: displayPath(some.name), from: write(from), to: write(to) };
  changes.set(keyOf(change), change);
}

function keyOf({ ecosystem, name, from, to }: PackageChange): string {
  return `${ecosystem} ${name} ${from} ${to}`;
}

function isReportedByConda(changes: ReadonlyMap<string, PackageChange>, name: string): boolean {
  return [...changes.values()].some((other) => other.ecosystem === "conda" && normalizeName(other.name) === name);
}
