// Compares the records of installed packages on both sides of a change.
import type { Difference } from "../compare-overlays.ts";
import { displayPath, parentOf } from "../entry-path.ts";
import type { FileEntry } from "../layer-entry.ts";
import { normalizePipName } from "./pip.ts";
import type { Ecosystem, InstalledPackage } from "./installed-package.ts";
import { readRecordPath } from "./package-records.ts";

/**
 * A package that came, went or changed; `from` or `to` is null where it is absent. Equal versions mean that its files
 * were built anew and differ. Of `os` the name is the distribution's.
 */
export interface PackageChange {
  readonly ecosystem: Ecosystem;
  readonly name: string;
  readonly from: string | null;
  readonly to: string | null;
}

/** Records that list many packages under a path that stays: unless both sides are known they tell nothing. */
const LISTS = /(?:^|\/)(?:var\/lib\/dpkg\/status|lib\/apk\/db\/installed|(?:etc|usr\/lib)\/os-release)$/;

/** Whether the packages that a path tells of can only be compared when the anchor's state of it is known. */
export function isPackageList(path: string): boolean {
  return LISTS.test(path);
}

/** What tells that files of a package differ though its version may not. */
const REBUILT = /\.dist-info\/RECORD$|(?:^|\/)var\/lib\/dpkg\/info\/([^/:]+)(?::[^/]+)?\.md5sums$|\/package\.json$/;

/** A package and the place it is installed in: the same one may be in several environments. */
interface Placed extends InstalledPackage {
  readonly place: string;
}

/**
 * Lists what the records among the differences tell, sorted by ecosystem and name.
 *
 * A version that only its build tells apart is written `version-build`. What pip or Python record about a package that
 * conda reports as well is left out. `findPackages` gives what the candidate records at a path that is not among the
 * differences.
 */
export function listPackageChanges(
  shipped: readonly Difference[],
  removed: readonly Difference[],
  findPackages: (path: string) => readonly InstalledPackage[] = () => [],
): readonly PackageChange[] {
  const before = collect([...shipped, ...removed], ({ anchor }) => anchor);
  const after = collect(shipped, ({ candidate }) => candidate);
  const rebuilt = listRebuilt(shipped, after, findPackages);
  for (const key of before.keys()) if (after.delete(key)) before.delete(key);
  const changes = new Map<string, PackageChange>();
  const left = Map.groupBy(before.values(), slotOf);
  for (const to of after.values()) addChange(changes, left.get(slotOf(to))?.shift(), to);
  for (const from of [...left.values()].flat()) addChange(changes, from, undefined);
  for (const one of rebuilt) if (!isReported(changes, one)) addChange(changes, one, one);
  const byConda = new Set(
    [...changes.values()].filter(({ ecosystem }) => ecosystem === "conda").map(({ name }) => normalizePipName(name)),
  );
  return [...changes.values()]
    .filter(({ ecosystem, name }) => !(["pip", "python"].includes(ecosystem) && byConda.has(name)))
    .sort((one, other) => (keyOf(one) < keyOf(other) ? -1 : 1));
}

/** All packages of one side; what a record's content tells goes before what paths tell. */
function collect(
  differences: readonly Difference[],
  side: (difference: Difference) => FileEntry | undefined,
): Map<string, Placed> {
  const byPath = new Map<string, Placed>();
  const byContent = new Map<string, Placed>();
  for (const difference of differences) {
    const entry = side(difference);
    if (entry === undefined) continue;
    const { path } = difference;
    const found = entry.packages ?? readRecordPath(path);
    for (const one of found) {
      const placed = { ...one, place: placeOf(path, one.ecosystem) };
      (entry.packages === undefined ? byPath : byContent).set(versionOf(placed), placed);
    }
  }
  const told = new Set([...byContent.values()].map(slotOf));
  for (const [key, placed] of byPath) if (!told.has(slotOf(placed))) byContent.set(key, placed);
  return byContent;
}

/** Where the package of a record is installed. */
function placeOf(path: string, ecosystem: Ecosystem): string {
  if (ecosystem === "pip") return path.replace(/(?:^|\/)[^/]+\.(?:dist|egg)-info(?:\/.*)?$/, "");
  if (ecosystem === "conda") return parentOf(parentOf(path));
  if (ecosystem === "npm") return parentOf(path);
  if (ecosystem === "os") return "";
  return path.replace(/(?:^|\/)(?:var\/lib\/dpkg|(?:usr\/)?lib\/apk|lib\/python)[^/]*\/.*$/, "");
}

function listRebuilt(
  shipped: readonly Difference[],
  after: ReadonlyMap<string, Placed>,
  findPackages: (path: string) => readonly InstalledPackage[],
): Placed[] {
  const found: Placed[] = [];
  for (const { path, change, anchor, candidate } of shipped) {
    const match = change === "changed" && anchor?.type === candidate?.type ? REBUILT.exec(path) : null;
    if (match === null) continue;
    const [, debianName] = match;
    const status = debianName === undefined ? "" : `${parentOf(parentOf(path))}/status`;
    const known = [...after.values(), ...findPackages(status)];
    const packages =
      debianName === undefined
        ? (candidate?.packages ?? readRecordPath(path))
        : known.filter(({ ecosystem, name }) => ecosystem === "dpkg" && name === debianName).slice(0, 1);
    for (const one of packages) found.push({ ...one, place: placeOf(path, one.ecosystem) });
  }
  return found;
}

function slotOf({ ecosystem, place, name }: Placed): string {
  return `${ecosystem} ${place} ${name}`;
}

function versionOf(placed: Placed): string {
  return `${slotOf(placed)} ${placed.version} ${placed.build}`;
}

function addChange(changes: Map<string, PackageChange>, from: Placed | undefined, to: Placed | undefined): void {
  const some = to ?? from;
  if (some === undefined) return;
  const hasBuilds = from !== undefined && from.version === to?.version && from.build !== to.build;
  const write = (one: Placed | undefined): string | null =>
    one === undefined ? null : displayPath(hasBuilds ? `${one.version}-${one.build}` : one.version);
  const change = { ecosystem: some.ecosystem, name: displayPath(some.name), from: write(from), to: write(to) };
  changes.set(keyOf(change), change);
}

function isReported(changes: ReadonlyMap<string, PackageChange>, { ecosystem, name }: InstalledPackage): boolean {
  return [...changes.values()].some((change) => change.ecosystem === ecosystem && change.name === displayPath(name));
}

function keyOf({ ecosystem, name, from, to }: PackageChange): string {
  return `${ecosystem} ${name} ${from} ${to}`;
}
