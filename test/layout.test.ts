// The layout's table of allowed imports, executed: who may import whom, and what each side may never see.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, test } from "vitest";

const root = resolve(import.meta.dirname, "..");

/** A zone's own folder and what its files may import: path prefixes, package names, or `node:` modules; `*` is anything. */
interface Zone {
  readonly folder: string;
  readonly may: readonly string[];
  readonly never?: readonly string[];
  /** Zones of which only types may be imported. */
  readonly typesOnly?: readonly string[];
}

const ZONES: readonly Zone[] = [
  { folder: "src/core", may: ["src/core", "zod", "node:crypto", "node:zlib", "node:stream"] },
  { folder: "src/ports", may: ["src/ports", "src/core"], typesOnly: ["src/core", "src/ports"] },
  {
    folder: "src/orchestrations",
    may: ["src/orchestrations", "src/core", "src/ports", "src/activities", "durable-functions"],
    typesOnly: ["src/ports", "src/activities"],
  },
  { folder: "src/activities", may: ["src/activities", "src/core", "src/ports"], typesOnly: ["src/ports"] },
  { folder: "src/adapters", may: ["src/adapters", "src/core", "src/ports", "packages", "node:"] },
  {
    folder: "src/app.ts",
    may: ["src/core", "src/ports", "src/adapters", "src/activities", "src/orchestrations", "packages", "node:"],
  },
  { folder: "src/image-tools.ts", may: ["src/core", "src/ports", "src/adapters", "packages", "node:"] },
  { folder: "src/task-tools.ts", may: ["src/core", "src/ports", "src/adapters", "packages", "node:"] },
  {
    folder: "src/functions",
    may: ["src/functions", "src/app.ts", "src/orchestrations", "src/activities/index.ts", "src/core", "packages"],
  },
  {
    folder: "src/cli",
    may: ["src/cli", "src/app.ts", "src/image-tools.ts", "src/task-tools.ts", "src/core", "packages", "node:"],
  },
  { folder: "local", may: ["local", "src/core/errors.ts", "packages", "node:"] },
  { folder: "test", may: ["*"] },
  { folder: "bench", may: ["*"] },
  { folder: "scripts", may: ["scripts", "packages", "node:"] },
];

/** Import statements and dynamic imports; group 1 tells a type import, group 2 or 3 the specifier. */
const IMPORT = /(?:^|\n)\s*(?:import|export)\s+(type\s+)?(?:[^"';]*?\sfrom\s+)?"([^"]+)"|import\(\s*"([^"]+)"\s*\)/g;

interface Import {
  readonly file: string;
  readonly target: string;
  readonly typeOnly: boolean;
}

function listSources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|mts)$/.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), "utf8");
  return [...text.matchAll(IMPORT)].map((match) => {
    const specifier = match[2] ?? match[3] ?? "";
    const target = specifier.startsWith(".") ? relative(root, resolve(root, dirname(file), specifier)) : specifier;
    return { file, target, typeOnly: match[1] !== undefined };
  });
}

const isPath = (target: string): boolean => /^(src|local|test|bench|scripts)\//.test(target);
const within = (target: string, prefix: string): boolean =>
  target === prefix || target.startsWith(prefix.endsWith(":") ? prefix : `${prefix}/`);

function breaks(zone: Zone, { target, typeOnly }: Import): boolean {
  if (zone.typesOnly?.some((prefix) => within(target, prefix) && !within(target, zone.folder)) && !typeOnly)
    return true;
  return !zone.may.some((allowed) => {
    if (allowed === "*") return true;
    if (allowed === "packages") return !isPath(target) && !target.startsWith("node:");
    return within(target, allowed);
  });
}

const sources = ["src", "local", "test", "bench", "scripts"].flatMap(listSources);
const zoneOf = (file: string): Zone | undefined => ZONES.find((zone) => within(file, zone.folder));

describe("the layout", () => {
  test("every source file belongs to a zone", () => {
    expect(sources.filter((file) => zoneOf(file) === undefined)).toEqual([]);
  });

  test("no file imports what its zone may not", () => {
    const offences = sources.flatMap((file) =>
      importsOf(file)
        .filter((found) => breaks(zoneOf(file) as Zone, found))
        .map(({ target, typeOnly }) => `${file} imports ${typeOnly ? "type " : ""}${target}`),
    );
    expect(offences).toEqual([]);
  });

  test("the reader of imports saw real files and real imports", () => {
    expect(sources.length).toBeGreaterThan(10);
    expect(sources.flatMap(importsOf).length).toBeGreaterThan(sources.length);
  });

  test("the rules do refuse what they are for", () => {
    const offends = (file: string, target: string, typeOnly = false): boolean =>
      breaks(zoneOf(file) as Zone, { file, target, typeOnly });
    expect(offends("src/core/image/x.ts", "node:fs")).toBe(true);
    expect(offends("src/core/image/x.ts", "src/adapters/registry/oci.ts")).toBe(true);
    expect(offends("local/registry/x.ts", "src/core/image/tar.ts")).toBe(true);
    expect(offends("local/registry/x.ts", "src/adapters/registry/oci.ts")).toBe(true);
    expect(offends("src/orchestrations/release.ts", "src/ports/registry.ts")).toBe(true);
    expect(offends("src/orchestrations/release.ts", "src/ports/registry.ts", true)).toBe(false);
    expect(offends("src/functions/hooks.ts", "src/adapters/registry/oci.ts")).toBe(true);
    expect(offends("src/app.ts", "local/main.ts")).toBe(true);
  });
});
