// Generated Dockerfiles: what they copy, what they refuse, and that no name of a file becomes an instruction.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compilePattern } from "../../../local/acr-tasks/dockerfile/match-path.ts";
import { expandWord } from "../../../local/acr-tasks/dockerfile/expand-word.ts";
import { parseDockerfile } from "../../../local/acr-tasks/dockerfile/parse-dockerfile.ts";
import { planDockerfile, type DockerfilePlan } from "../../../src/adapters/acr-tasks/plan-dockerfile.ts";
import type { DeltaEntries } from "../../../src/core/image/delta-entries.ts";
import { bytePath } from "../../../src/core/image/entry-path.ts";
import type { FileEntry } from "../../../src/core/image/layer-entry.ts";
import { count } from "../../counts.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;
const ANCHOR = `127.0.0.1:5000/team/app@${DIGEST}`;
const CANDIDATE = `fleet.azurecr.io/team/app@sha256:${"b".repeat(64)}`;

const fileOf = (path: string, facts: Partial<FileEntry> = {}): FileEntry => ({
  kind: "entry",
  path,
  type: "file",
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 3,
  mtime: 0,
  mtimeNanos: 0,
  linkname: "",
  deviceMajor: 0,
  deviceMinor: 0,
  sha256: "",
  ...facts,
});
const deltaOf = (files: readonly FileEntry[], rest: Partial<DeltaEntries> = {}): DeltaEntries => ({
  directories: [],
  whiteouts: [],
  specials: [],
  links: [],
  files: files.map((entry, ordinal) => ({ path: entry.path, entry, layer: 1, ordinal })),
  ...rest,
});
const planOf = (delta: DeltaEntries, contentBytes = 3): DockerfilePlan =>
  planDockerfile({ anchor: ANCHOR, candidate: CANDIDATE, plan: { delta, contentBytes } });
/** Plans for files given by names as people write them. */
const planNames = (...names: string[]): DockerfilePlan => planOf(deltaOf(names.map((name) => fileOf(bytePath(name)))));
const textOf = (plan: DockerfilePlan): string =>
  plan.kind === "dockerfile" ? plan.text : `${plan.kind}: ${plan.reason}`;

describe("a Dockerfile", () => {
  test("copies contents by directory into one layer, of its own and on the anchor", () => {
    expect(textOf(planNames("app/score.py", "model/model.pkl", "app/a b.txt", "top"))).toBe(`\
FROM ${CANDIDATE} AS candidate
FROM scratch AS files
COPY --from=candidate ["/app/a b.txt","/app/score.py","/app/"]
COPY --from=candidate ["/model/model.pkl","/model/"]
COPY --from=candidate ["/top","/"]
FROM scratch AS delta
COPY --from=files ["/","/"]
FROM ${ANCHOR}
COPY --from=delta ["/","/"]
`);
  });

  test("takes patterns for names", () => {
    expect(textOf(planNames("app/*]?.txt"))).toContain(`["/app/[*]][?].txt","/app/"]`);
  });

  test("has lines that BuildKit reads", () => {
    const names = Array.from({ length: 2_000 }, (_, index) => `lib/${"n".repeat(60)}${index}`);
    const text = textOf(planNames(...names));
    expect(Math.max(...text.split("\n").map((line) => Buffer.byteLength(line)))).toBeLessThan(65_535);
    expect(text.split("\n").filter((line) => line.startsWith("COPY --from=candidate"))).toHaveLength(3);
  });

  test("is not needed where there is no content: whiteouts, links, devices, empty files are written when sealing", () => {
    const empty = fileOf("app/empty", { size: 0 });
    const delta = deltaOf([empty], {
      whiteouts: ["app/gone"],
      specials: [{ path: "dev/null", entry: fileOf("dev/null", { type: "character-device" }) }],
      links: [{ path: "app/b", target: "app/empty", entry: empty }],
      directories: [{ path: "app", entry: fileOf("app", { type: "directory" }) }],
    });
    expect(planOf(delta)).toMatchObject({ kind: "needless" });
  });

  test("does not mind what COPY cannot keep, since sealing writes it from the plan", () => {
    const odd = fileOf("bin/ping", { mode: 0o4755, uid: 123_456, xattrs: { "security.capability": "\u0001" } });
    const delta = deltaOf([odd], { whiteouts: ["app/\n"], links: [{ path: "$x", target: "bin/ping", entry: odd }] });
    expect(textOf(planOf(delta))).toBe(textOf(planNames("bin/ping")));
  });
});

describe("unsuitable is", () => {
  test.each([
    "a\nRUN id",
    "a\r",
    "a\0",
    "a\tb",
    'quote"',
    "quote'",
    "back\\slash",
    "$HOME",
    "`id`",
    "[a-z]",
    "<<EOF",
    "a>b",
    " a",
    "a /b",
    "x/ a",
    "a\u2028b",
    "a\u0085b",
    "a\u200Bb",
    "a\u202Eb",
    "a\uFEFFb",
  ])("the name %j", (name) => {
    const plan = planNames("fine", name);
    expect(plan.kind).toBe("unsuitable");
    expect(textOf(plan)).toContain("COPY cannot name");
    expect(textOf(plan)).not.toMatch(/[\n\r]/);
  });

  test("a name that is not UTF-8", () => {
    expect(planOf(deltaOf([fileOf("a\u00FF")]))).toMatchObject({ kind: "unsuitable" });
  });

  test("content from more directories than an image has layers", () => {
    const names = Array.from({ length: 101 }, (_, index) => `d${index}/file`);
    expect(textOf(planNames(...names.slice(1)))).toMatch(/^FROM/);
    expect(textOf(planNames(...names))).toContain("101 COPY instructions");
  });

  test("more content than sealing holds in memory", () => {
    expect(textOf(planOf(deltaOf([fileOf("a")]), 200_000_000))).toContain("200000000 bytes of content");
  });
});

test.each(["app:1\nRUN id", "app:1 AS x", "$(id)", "app@sha256:1", "team/UPPER:1", 'a"b'])(
  "the reference %j is refused",
  (reference) => {
    const plan = { delta: deltaOf([fileOf("a")]), contentBytes: 3 };
    expect(() => planDockerfile({ anchor: reference, candidate: CANDIDATE, plan })).toThrow(
      expect.objectContaining({ code: "REFERENCE_INVALID" }),
    );
    expect(() => planDockerfile({ anchor: ANCHOR, candidate: reference, plan })).toThrow(
      expect.objectContaining({ code: "REFERENCE_INVALID" }),
    );
  },
);

describe("whatever files are called", () => {
  const nasty = fc.constantFrom(
    ..."\n\r\t\0\\\"'`$#<>|&;*?[]{}() =:,.-_~^!%@+aZ0ü模".split(""),
    "RUN ",
    "<<EOF",
    "]\n",
    "--from=",
  );
  const name = fc
    .array(fc.oneof(nasty, fc.string({ unit: "binary", maxLength: 2 })), { minLength: 1, maxLength: 6 })
    .map((parts) => parts.join("").replaceAll("/", "").replaceAll("\0", "") || "x")
    .filter((name) => name !== "." && name !== "..");
  const plain = fc.constantFrom("a", "b c", "*", "]", "ü", "{a,b}", "#", "a?b", "=;&|");
  const path = fc
    .array(fc.oneof({ weight: 4, arbitrary: plain }, { weight: 1, arbitrary: name }), { minLength: 1, maxLength: 3 })
    .map((names) => names.join("/"));

  test("the file holds the planned instructions and no others, each naming the files it should", () => {
    let written = 0;
    fc.assert(
      fc.property(fc.uniqueArray(path, { minLength: 1, maxLength: 4 }), (paths) => {
        const plan = planNames(...paths);
        if (plan.kind !== "dockerfile") return;
        written += 1;
        const { stages, globalArgs } = parseDockerfile(plan.text);
        expect(globalArgs).toEqual([]);
        expect(stages.map(({ image, name }) => [image, name])).toEqual([
          [CANDIDATE, "candidate"],
          ["scratch", "files"],
          ["scratch", "delta"],
          [ANCHOR, undefined],
        ]);
        const [candidate, files, delta, last] = stages.map(({ instructions }) => instructions);
        expect(candidate).toEqual([]);
        expect([delta, last].map((list) => list?.map(({ text }) => text))).toEqual([
          ['COPY --from=files ["/","/"]'],
          ['COPY --from=delta ["/","/"]'],
        ]);
        // Every source, read as builders read it, matches its own file and no other one.
        const found: string[] = [];
        for (const instruction of files ?? []) {
          if (instruction.kind !== "copy") throw new Error(`an instruction ${instruction.kind}`);
          const expand = (word: string): string => expandWord(word, new Map([["HOME", "/root"]]), instruction);
          expect(instruction.from).toBe("candidate");
          const directory = expand(instruction.destination);
          for (const source of instruction.sources.map(expand)) {
            const names = source.split("/").slice(1);
            const matches = paths.filter((candidatePath) => {
              const parts = candidatePath.split("/");
              return (
                parts.length === names.length &&
                parts.every((part, at) => compilePattern(names[at] ?? "")?.(part) === true)
              );
            });
            expect(matches).toHaveLength(1);
            found.push(...matches);
            const parent = (matches[0] ?? "").split("/").slice(0, -1);
            expect(directory).toBe(parent.length === 0 ? "/" : `/${parent.join("/")}/`);
          }
        }
        expect(found.sort()).toEqual([...paths].sort());
      }),
      { seed: 20_261_120, numRuns: count("dockerfiles") },
    );
    expect(written).toBeGreaterThan(count("dockerfiles") / 4);
  });
});
