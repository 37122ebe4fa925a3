// What package managers record of what is installed.

/** Who records: package managers, and two that record themselves: the distribution (`os`) and Python. */
export const ECOSYSTEMS = ["conda", "pip", "npm", "dpkg", "apk", "python", "os"] as const;

/** Who records a package. */
export type Ecosystem = (typeof ECOSYSTEMS)[number];

/** A package as a record names it. Texts are byte strings, as paths are. */
export interface InstalledPackage {
  readonly ecosystem: Ecosystem;
  readonly name: string;
  readonly version: string;
  /** What tells two builds of one version apart, or the empty string. */
  readonly build: string;
}

/** One ecosystem's way to record. Paths are clean or as an archive has them, with `./` or `/` in front. */
export interface PackageRecords {
  readonly ecosystem: Ecosystem;
  /** Whether a file of this path is a record that has to be read. */
  isRecord(path: string): boolean;
  /** The packages that a record names; of one that makes no sense none. */
  read(text: string, path: string): readonly InstalledPackage[];
}

/** Longer names and versions are no real ones. */
const MAX_TEXT_LENGTH = 200;

/** A package from texts as they are read, or none where they cannot be names and versions. */
export function toPackage(
  ecosystem: Ecosystem,
  name: unknown,
  version: unknown,
  build: unknown = "",
): readonly InstalledPackage[] {
  const texts = [name, version, build].map((text) => (typeof text === "string" ? text.trim() : undefined));
  const [cleanName, cleanVersion, cleanBuild] = texts.map((text) =>
    text !== undefined && text.length <= MAX_TEXT_LENGTH ? Buffer.from(text, "utf8").toString("latin1") : undefined,
  );
  if (!cleanName || !cleanVersion || cleanBuild === undefined) return [];
  return [{ ecosystem, name: cleanName, version: cleanVersion, build: cleanBuild }];
}

/** Parses JSON that should be an object; undefined if it is not. */
export function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
