// The readers of what callers send: Dockerfiles, words, patterns, tasks and command lines, by example, property and fuzz.
import { execFileSync } from "node:child_process";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { expandWord } from "../../../local/acr-tasks/dockerfile/expand-word.ts";
import { compilePattern } from "../../../local/acr-tasks/dockerfile/match-path.ts";
import { parseDockerfile } from "../../../local/acr-tasks/dockerfile/parse-dockerfile.ts";
import { createRedactor } from "../../../local/acr-tasks/redact.ts";
import { RunError } from "../../../local/acr-tasks/run-error.ts";
import { splitWords } from "../../../local/acr-tasks/split-words.ts";
import { parseTask } from "../../../local/acr-tasks/task-file.ts";
import { fillTemplate } from "../../../local/acr-tasks/template.ts";
import { count } from "../../counts.ts";
import { createRandom } from "../registry/support.ts";

const LINE = { keyword: "COPY", line: 1 };
const settings = (numRuns: number): fc.Parameters<unknown> => ({ seed: 20_261_120, numRuns });
/** Characters that mean something to one reader or another. */
const nasty = fc.string({
  unit: fc.constantFrom(...Array.from("ab/.$'\"\\ {}[]*?^-=#<>|;&`\n\té漢😀")),
  maxLength: 30,
});

/** Runs a reader that may refuse, but only by its typed error. */
function refusesOrReads<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof RunError) return undefined;
    throw error;
  }
}

describe("a command line", () => {
  test("of quoted words is split into them, as a shell splits it", () => {
    const word = nasty.filter((text) => !text.includes("\0"));
    const words = fc.array(word, { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(words, fc.constantFrom("single", "double", "backslash"), (list, style) => {
        const line = list.map((text) => quote(text, style)).join(" ");
        expect(splitWords(line)).toEqual(list);
      }),
      settings(count("taskReaders")),
    );
  });

  test("is split as sh does, or refused", () => {
    const lines = fc.sample(
      nasty.filter((text) => !text.includes("\0")),
      { seed: 7, numRuns: 300 },
    );
    const accepted = lines.flatMap((line) => {
      const words = refusesOrReads(() => splitWords(line));
      return words === undefined ? [] : [{ line, words }];
    });
    expect(accepted.length).toBeGreaterThan(20);
    // An unquoted line end would end the command; the agent's line is one, so it is written as a blank.
    const script = accepted
      .map(
        ({ line }) =>
          `set -f; show ${line.replaceAll(/(?<!\\)\n/g, (end, at: number) => (isQuoted(line, at) ? end : " "))}\n`,
      )
      .join("");
    const shown = execFileSync("/bin/sh", ["-c", `show() { printf '%s\\0' "$#" "$@"; }\n${script}`])
      .toString()
      .split("\0");
    let at = 0;
    for (const { line, words } of accepted) {
      expect({ line, words: shown.slice(at, at + 1 + words.length) }).toEqual({
        line,
        words: [String(words.length), ...words],
      });
      at += 1 + words.length;
    }
  });

  test("with anything for a shell to do is refused", () => {
    for (const line of [
      "a $b",
      "a `b`",
      'a "$b"',
      "a; b",
      "a | b",
      "a > b",
      "a *",
      "a & b",
      "(a)",
      "a # b",
      "~/a",
      "a '",
      'a "',
      "a \\",
    ]) {
      expect(() => splitWords(line)).toThrow(RunError);
    }
    expect(splitWords(`a"b"'c'\\ d e#f~ '$x;|'`)).toEqual(["abc d", "e#f~", "$x;|"]);
  });
});

/** Whether the character at `at` stands between quotes. */
function isQuoted(line: string, at: number): boolean {
  let quoting = "";
  for (let index = 0; index < at; index++) {
    const mark = line[index];
    if (mark === "\\" && quoting !== "'") index++;
    else if (quoting === "") quoting = mark === "'" || mark === '"' ? mark : "";
    else if (mark === quoting) quoting = "";
  }
  return quoting !== "";
}

function quote(text: string, style: "single" | "double" | "backslash"): string {
  if (style === "single") return `'${text.replaceAll("'", String.raw`'\''`)}'`;
  if (style === "double") return `"${text.replaceAll(/["$`\\]/g, String.raw`\$&`)}"`;
  // A backslash cannot keep a line end: quotes must.
  return text === ""
    ? "''"
    : Array.from(text)
        .map((mark) => (mark === "\n" ? "'\n'" : `\\${mark}`))
        .join("");
}

describe("a Dockerfile", () => {
  test("is read into its stages", () => {
    const { globalArgs, stages } = parseDockerfile(`# syntax is a comment here
ARG BASE=app:1
FROM app:2@sha256:0 AS Model
COPY --from=0 ["/a b", "/c/"]
from \${BASE}
copy --from=model /x \\
  # between
  /y /z/
LABEL a=1 "b c"="d e"
ENV OLD the old form
USER 1:2
CMD echo hi
ENTRYPOINT ["a", "b"]
`);
    expect(globalArgs).toMatchObject([{ name: "BASE", value: "app:1", line: 2 }]);
    expect(stages).toMatchObject([
      {
        image: "app:2@sha256:0",
        name: "model",
        line: 3,
        instructions: [{ kind: "copy", from: "0", sources: ["/a b"], destination: "/c/" }],
      },
      {
        image: "${BASE}",
        name: undefined,
        instructions: [
          { kind: "copy", from: "model", sources: ["/x", "/y"], destination: "/z/", line: 6 },
          {
            kind: "label",
            pairs: [
              ["a", "1"],
              ['"b c"', '"d e"'],
            ],
          },
          { kind: "env", pairs: [["OLD", "the old form"]] },
          { kind: "user", value: "1:2" },
          { kind: "cmd", argv: ["/bin/sh", "-c", "echo hi"] },
          { kind: "entrypoint", argv: ["a", "b"] },
        ],
      },
    ]);
  });

  test("holds what was written into it in JSON form", () => {
    const path = nasty.filter((text) => text !== "" && !text.startsWith("<<"));
    const copy = fc.record({ sources: fc.array(path, { minLength: 1, maxLength: 4 }), destination: path });
    fc.assert(
      fc.property(fc.array(copy, { maxLength: 5 }), (copies) => {
        const lines = copies.map(
          ({ sources, destination }) => `COPY --from=m ${JSON.stringify([...sources, destination])}`,
        );
        const { stages } = parseDockerfile(["FROM a AS m", "FROM b", ...lines].join("\n"));
        expect(stages[1]?.instructions).toMatchObject(copies.map((each) => ({ kind: "copy", from: "m", ...each })));
      }),
      settings(count("taskReaders")),
    );
  });

  test("names instruction and line of what it refuses", () => {
    const refusals: readonly [string, RegExp][] = [
      ["", /no FROM/],
      ["FROM a\nRUN b", /RUN in line 2/],
      ["FROM a b c", /FROM in line 1: got a b c/],
      ["FROM a AS x\nFROM b AS x", /line 2: got the stage name x twice/],
      ["FROM a\nCOPY b", /COPY in line 2: got 1 paths/],
      ["FROM a\n\n\nCOPY --from= a b", /COPY in line 4: got --from of nothing/],
      ["FROM a\nCOPY [1, 2]", /JSON list of other than strings/],
      ['FROM a\nLABEL "b', /LABEL in line 2: got no closing "/],
      ["FROM a\nENV =b", /ENV in line 2/],
      ["FROM a\nUSER", /USER in line 2: got nothing/],
      ["# escape=`\nFROM a", /escape directive in line 1/],
      ["FROM a\0", /a NUL/],
      ["FROM a\n".repeat(20_000), /instructions/],
      ["F".repeat(2 << 20), /characters/],
    ];
    for (const [text, message] of refusals) expect(() => parseDockerfile(text)).toThrow(message);
  });
});

describe("a word", () => {
  test("is expanded as docker does", () => {
    const variables = new Map([
      ["A", "one"],
      ["E", ""],
    ]);
    const cases: readonly [string, string][] = [
      ["$A-${A}", "one-one"],
      ["${B:-two}${E:-three}${A:+four}${B:+five}", "twothreefour"],
      ["${B:-${A}}", "one"],
      ["'$A' \"$A\" \\$A", "$A one $A"],
      ['"a\\"b\\\\c\\d"', 'a"b\\c\\d'],
      ["$ $$ $1", "$ $$ "],
    ];
    for (const [word, expanded] of cases) expect([word, expandWord(word, variables, LINE)]).toEqual([word, expanded]);
    for (const word of ["${", "${A", "${A-b}", "'", '"', "${B:-"])
      expect(() => expandWord(word, variables, LINE)).toThrow(RunError);
  });

  test("does not grow without end", () => {
    const variables = new Map([["A", "x".repeat(1_000)]]);
    expect(() => expandWord("$A".repeat(2_000), variables, LINE)).toThrow(/a word that grows/);
    expect(() => expandWord("${A:+".repeat(5_000), variables, LINE)).toThrow(RunError);
  });

  test("without quotes, backslashes and dollars stays itself", () => {
    const plain = nasty.filter((text) => !/['"\\$]/.test(text));
    fc.assert(
      fc.property(plain, (text) => {
        expect(expandWord(text, new Map(), LINE)).toBe(text);
      }),
      settings(count("taskReaders")),
    );
  });
});

describe("a pattern", () => {
  test("matches as Go's filepath.Match", () => {
    const cases: readonly [pattern: string, name: string, matches: boolean][] = [
      ["abc", "abc", true],
      ["*", "abc", true],
      ["*c", "abc", true],
      ["a*b?c*x", "abxbbxdbxebxczzx", true],
      ["ab[c]", "abc", true],
      ["ab[e-g]", "abc", false],
      ["ab[^c]", "abc", false],
      ["ab[^e-g]", "abc", true],
      ["a\\*b", "a*b", true],
      ["a\\*b", "ab", false],
      ["a?b", "a☺b", true],
      ["[\\]a]", "]", true],
      ["[\\-x]", "-", true],
      ["[x\\-]", "z", false],
      ["*.txt", "a.txt", true],
      ["s[[]x]", "s[x]", true],
    ];
    for (const [pattern, name, matches] of cases)
      expect([pattern, compilePattern(pattern)?.(name)]).toEqual([pattern, matches]);
    for (const pattern of ["[", "[^", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "a\\", "[^bc"]) {
      expect([pattern, compilePattern(pattern)]).toEqual([pattern, undefined]);
    }
  });

  test("of escaped characters matches the name alone", () => {
    const name = nasty.filter((text) => text !== "" && !text.includes("/"));
    fc.assert(
      fc.property(name, name, (text, other) => {
        const pattern = compilePattern(text.replaceAll(/[*?[\\]/g, String.raw`\$&`));
        expect(pattern?.(text)).toBe(true);
        expect(pattern?.(other)).toBe(text === other);
      }),
      settings(count("taskReaders")),
    );
  });

  test("of many stars takes no time", () => {
    const started = performance.now();
    expect(compilePattern(`${"*a".repeat(40)}b`)?.("a".repeat(255))).toBe(false);
    expect(performance.now() - started).toBeLessThan(1_000);
  });
});

describe("a template", () => {
  test("is filled from values, unknown ones with nothing", () => {
    const data = { run: { ID: "c1", Registry: "r.io" }, values: { a: "x: y" } };
    expect(fillTemplate("{{.Run.ID}} {{ .Values.a }} {{-.Values.none-}} $Registry/b $$ $Other $ID2", data)).toBe(
      "c1 x: y  r.io/b $ $Other $ID2",
    );
    for (const text of ["{{}}", "{{.Run}}", "{{ if .Run.ID }}", "{{.Values.a | quote}}"])
      expect(() => fillTemplate(text, data)).toThrow(RunError);
  });
});

describe("a redactor", () => {
  test("never lets a secret through, however the text is cut", () => {
    const secret = fc.string({ unit: fc.constantFrom(...Array.from("abc-")), minLength: 4, maxLength: 8 });
    const parts = fc.array(fc.string({ unit: fc.constantFrom(...Array.from("abc-\n")), maxLength: 12 }), {
      maxLength: 10,
    });
    fc.assert(
      fc.property(secret, secret, parts, fc.nat(), (one, two, texts, cut) => {
        const redactor = createRedactor();
        redactor.add(one, two);
        const whole = texts.join(one) + two;
        const at = cut % (whole.length + 1);
        const shown = redactor.push(whole.slice(0, at)) + redactor.push(whole.slice(at)) + redactor.flush();
        expect(shown).not.toContain(one);
        expect(shown).not.toContain(two);
      }),
      settings(count("taskReaders")),
    );
  });

  test("shows an overlong line in pieces, without the secret", () => {
    const redactor = createRedactor();
    redactor.add("s3cr3t");
    let shown = "";
    for (let each = 0; each < 40_000; each++) shown += redactor.push("x s3cr");
    expect(shown.length).toBeGreaterThan(100_000);
    shown += redactor.push("3t") + redactor.flush();
    expect(shown).not.toContain("s3cr3t");
    expect(shown.endsWith("x ***")).toBe(true);
  });
});

describe("damaged input", () => {
  const DOCKERFILE = `ARG B=a:1\nFROM \${B} AS m\nCOPY --from=m ["/a[b]c", "/d/"]\nENV A="x $Y" C='z' D=\\$E\\\n F=\${G:-h}\nLABEL k="v w" l=m\nWORKDIR /w\nUSER 1:2\nCMD ["x"]\n`;
  const TASK = `version: v1.0.0\nstepTimeout: 60\nsteps:\n  - id: a\n    cmd: "$Registry/x:1 'b c' {{.Values.d}}"\n    env: ["E=f"]\n  - push: [g]\n    when: [a]\n`;
  const COMMAND = `image:1 'a b' "c \\" d" e\\ f --g=h`;
  const PIECES = [
    "$",
    "${",
    "}",
    "'",
    '"',
    "\\",
    "\n",
    "[",
    "]",
    "{{",
    "}}",
    "<<",
    "#",
    "&a",
    "*a",
    "- ",
    ": ",
    "\0",
    "\u{FEFF}",
    "é",
    "\uD800",
    "=",
    "--",
    "COPY",
    "FROM ",
  ];

  test("is read or refused by a typed error, at once, and never ends the reader", () => {
    const random = createRandom(41);
    const damage = (text: string): string => {
      let damaged = text;
      for (let edits = 1 + (random() % 4); edits > 0; edits--) {
        const at = random() % (damaged.length + 1);
        const cut = random() % 3 === 0 ? random() % 20 : random() % 2;
        const piece = PIECES[random() % PIECES.length] as string;
        damaged =
          damaged.slice(0, at) +
          (random() % 3 === 0 ? piece.repeat(1 + (random() % 40)) : piece) +
          damaged.slice(at + cut);
      }
      return damaged;
    };
    const variables = new Map([
      ["A", "b"],
      ["Y", "$A"],
    ]);
    let slowestMs = 0;
    let read = 0;
    const total = count("taskFuzz");
    for (let each = 0; each < total; each++) {
      const started = performance.now();
      // Tasks are a tenth: a YAML parser takes its time.
      const kind = random() % 10;
      const result = refusesOrReads(() => {
        if (kind === 0) return parseTask(fillTemplate(damage(TASK), { run: {}, values: {} }));
        if (kind < 4) return splitWords(damage(COMMAND));
        if (kind < 6)
          return [expandWord(damage("a$A'b'${Y:-c}\"d\""), variables, LINE), compilePattern(damage("a[b-c]*?\\d"))];
        return parseDockerfile(damage(DOCKERFILE));
      });
      if (result !== undefined) read++;
      slowestMs = Math.max(slowestMs, performance.now() - started);
    }
    expect(read).toBeGreaterThan(total / 20);
    expect(read).toBeLessThan(total);
    expect(slowestMs).toBeLessThan(2_000);
  });
});
