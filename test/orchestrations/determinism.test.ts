// What orchestrators may not touch, checked over everything that they import at run time.
import { readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, test } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const ENTRIES = ["release", "rollout", "watch"].map((name) => `src/orchestrations/${name}.ts`);

/** Packages and modules that are deterministic as the orchestrators use them. */
const ALLOWED_MODULES = new Set(["durable-functions"]);

/** What depends on when, where or how often code runs; each with an example that shows that the check catches it. */
const FORBIDDEN: readonly { readonly what: string; readonly pattern: RegExp; readonly examples: readonly string[] }[] =
  [
    {
      what: "the machine's time",
      pattern:
        /\bDate\s*\.\s*now\b|\bnew\s+Date\s*(?:\(\s*\)|(?![\s(\w.]))|(?<!new\s+|[.\w])Date\s*\(|\bperformance\b|\bhrtime\b|\bTemporal\b/,
      examples: ["Date.now()", "const at = new Date();", "new Date( )", "new Date;", "Date()", "performance.now()"],
    },
    {
      what: "randomness",
      pattern: /\bMath\s*\.\s*random\b|\bcrypto\b|\brandom(?:UUID|Bytes|Int|FillSync)?\s*\(|\bgetRandomValues\b/,
      examples: [
        "Math.random()",
        "crypto.randomUUID()",
        "randomBytes(8)",
        "randomUUID()",
        "getRandomValues(new Uint8Array(1))",
      ],
    },
    {
      what: "timers of the machine",
      pattern: /\bset(?:Timeout|Interval|Immediate)\b|\bqueueMicrotask\b|\bnextTick\b|\bAtomics\b/,
      examples: [
        "setTimeout(go, 1)",
        "setInterval(go, 1)",
        "setImmediate(go)",
        "queueMicrotask(go)",
        "process.nextTick(go)",
      ],
    },
    {
      what: "the process and its surroundings",
      pattern: /\bprocess\s*[.[]|\bglobalThis\b|\bimport\.meta\b|\brequire\s*\(|\bimport\s*\(/,
      examples: [
        "process.env.HOME",
        'process["env"]',
        "globalThis.x",
        "import.meta.url",
        'require("x")',
        'import("x")',
      ],
    },
    {
      what: "the network",
      pattern: /\bfetch\s*\(|\bWebSocket\b|\bXMLHttpRequest\b/,
      examples: ["fetch(url)", "new WebSocket(url)"],
    },
    {
      what: "promises, which the library does not replay",
      pattern: /\basync\b|\bawait\b|\bPromise\s*[.(]/,
      examples: ["async () => 1", "await x", "Promise.all([])", "new Promise((resolve) => resolve())"],
    },
    {
      what: "the locale and the time zone",
      pattern:
        /\bIntl\b|\btoLocale\w*\b|\blocaleCompare\b|\bgetTimezoneOffset\b|\bget(?:Hours|Day|Date|Month|FullYear)\b/,
      examples: ["new Intl.DateTimeFormat()", "x.toLocaleString()", "a.localeCompare(b)", "date.getHours()"],
    },
    {
      what: "state that outlives a turn",
      pattern: /^(?:export\s+)?(?:let|var)\s/m,
      examples: ["let count = 0;", "\nexport let x = 1;", "var y;"],
    },
  ];

/** Code without comments and without the text of strings, in which words mean nothing. */
function stripProse(text: string): string {
  return text
    .replaceAll(/\/\*[^]*?\*\//g, "")
    .replaceAll(/(^|\s)\/\/.*$/gm, "$1")
    .replaceAll(/"(?:[^"\\\n]|\\.)*"/g, '""')
    .replaceAll(
      /`(?:[^`\\]|\\.)*`/g,
      (template) => `\`${[...template.matchAll(/\$\{([^}]*)\}/g)].map(([, code]) => code).join(";")}\``,
    );
}

const findForbidden = (code: string): string[] =>
  FORBIDDEN.filter(({ pattern }) => pattern.test(stripProse(code))).map(({ what }) => what);

/** Statements that import or re-export at run time: types are erased, and with them what they would import. */
const IMPORT = /^\s*(?:import|export)\s+(?!type\b)(?:([^"';]*?)\sfrom\s+)?"([^"]+)"/gm;

function importsOf(text: string): string[] {
  return [...text.matchAll(IMPORT)]
    .filter(([, names]) => names === undefined || !/^\{(?:\s*type\s[^,}]*,?)+\s*\}$/.test(names.trim()))
    .map(([, , specifier]) => specifier ?? "");
}

/** Files that the entries import at run time, and the packages and modules among them. */
function closureOf(entries: readonly string[]): { files: string[]; modules: string[] } {
  const files = new Set<string>();
  const modules = new Set<string>();
  const pending = [...entries];
  for (let file = pending.pop(); file !== undefined; file = pending.pop()) {
    if (files.has(file)) continue;
    files.add(file);
    for (const specifier of importsOf(readFileSync(join(root, file), "utf8"))) {
      if (specifier.startsWith(".")) pending.push(relative(root, resolve(root, dirname(file), specifier)));
      else modules.add(specifier);
    }
  }
  return { files: [...files].sort(), modules: [...modules].sort() };
}

const closure = closureOf(ENTRIES);

describe("the orchestrators", () => {
  test("import at run time what was looked at here", () => {
    expect(closure.files).toEqual([
      "src/orchestrations/call.ts",
      "src/orchestrations/instance-ids.ts",
      "src/orchestrations/release.ts",
      "src/orchestrations/rollout.ts",
      "src/orchestrations/watch.ts",
    ]);
  });

  test("import no module that is not known to be deterministic", () => {
    expect(closure.modules.filter((module) => !ALLOWED_MODULES.has(module))).toEqual([]);
    expect(closure.modules).toEqual(["durable-functions"]);
  });

  test.each(closure.files)("%s touches nothing that may differ between two replays", (file) => {
    expect(findForbidden(readFileSync(join(root, file), "utf8"))).toEqual([]);
  });
});

describe("the check", () => {
  test.each(FORBIDDEN.flatMap(({ what, examples }) => examples.map((example) => [example, what] as const)))(
    "catches %j as %s",
    (example, what) => {
      expect(findForbidden(example)).toContain(what);
      const { files } = closure;
      const text = readFileSync(join(root, files[0] ?? ""), "utf8");
      expect(findForbidden(`${text}\n${example}\n`)).toContain(what);
    },
  );

  test("catches what hides in a template, and lets prose and fixed times be", () => {
    expect(findForbidden("const id = `a-${Date.now()}`;")).toEqual(["the machine's time"]);
    expect(findForbidden('// Date.now() is not allowed\nconst text = "fetch(x)"; /* Math.random() */')).toEqual([]);
    expect(findForbidden("new Date(context.df.currentUtcDateTime.getTime() + 5)")).toEqual([]);
  });

  test("follows what is imported at run time, and that alone", () => {
    expect(importsOf('import type { A } from "./a.ts";\nimport { type B, type C } from "./b.ts";')).toEqual([]);
    expect(
      importsOf(
        'import { b, type C } from "./b.ts";\nimport * as d from "d";\nexport { e } from "./e.ts";\nimport "f";',
      ),
    ).toEqual(["./b.ts", "d", "./e.ts", "f"]);
    const wide = closureOf(["src/activities/intake.ts"]);
    expect(wide.files).toContain("src/core/errors.ts");
    expect(wide.modules).toContain("node:crypto");
  });
});
