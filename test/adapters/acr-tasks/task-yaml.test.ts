// The task's YAML and its command: whatever the words are, they stay words of one step, to a real shell too.
import { execFileSync } from "node:child_process";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { splitWords } from "../../../local/acr-tasks/split-words.ts";
import { parseTask } from "../../../local/acr-tasks/task-file.ts";
import { fillTemplate } from "../../../local/acr-tasks/template.ts";
import {
  encodeTask,
  encodeTemplate,
  quoteWord,
  quoteWords,
  rebaseWords,
  TASK_VALUES,
  taskValue,
} from "../../../src/adapters/acr-tasks/task-yaml.ts";
import { count } from "../../counts.ts";

const WORDS = {
  image: "fleet.azurecr.io/lighter:1",
  anchor: `fleet.azurecr.io/app@sha256:${"a".repeat(64)}`,
  candidate: `fleet.azurecr.io/app@sha256:${"b".repeat(64)}`,
  target: "fleet.azurecr.io/app:iot-2",
  platform: "linux/arm64/v8",
};
const decode = (encoded: string): string => Buffer.from(encoded, "base64").toString();
/** The command of a task's only step, as an agent finds it: templates filled, then YAML read. */
const commandOf = (encoded: string, values: Readonly<Record<string, string>> = {}): string => {
  const run = { Registry: "INJECTED", ID: "INJECTED" };
  const steps = parseTask(fillTemplate(decode(encoded), { run, values }));
  expect(steps).toHaveLength(1);
  const [step] = steps;
  expect(step).toMatchObject({ id: "rebase", env: [], retries: 0, ignoreErrors: false, action: { kind: "cmd" } });
  return step?.action.kind === "cmd" ? step.action.command : "";
};

describe("the task", () => {
  test("is one step that may take as long as its run", () => {
    const encoded = encodeTask(rebaseWords(WORDS), 7_200);
    const [step] = parseTask(decode(encoded));
    expect(step).toMatchObject({ timeoutSeconds: 7_200 });
    expect(commandOf(encoded)).toBe(
      `${WORDS.image} rebase ${WORDS.anchor} ${WORDS.candidate} --tag ${WORDS.target} --platform linux/arm64/v8 --json`,
    );
  });

  test("of a pre-created task takes its words as values and comes to the same", () => {
    const values = Object.fromEntries(
      TASK_VALUES.map((name) => taskValue(name, WORDS[name])).map(({ name, value }) => [name, value]),
    );
    expect(commandOf(encodeTemplate(3_600), values)).toBe(commandOf(encodeTask(rebaseWords(WORDS), 3_600)));
  });
});

test.each(["a\nb", "a\0b", "a\rb", "$ID", "$(id)", "a{{.Run.ID}}", "}}", "\u2028", "\u0085", "\uD800"])(
  "the word %j is refused",
  (word) => {
    expect(() => quoteWord(word)).toThrow(expect.objectContaining({ code: "WORD_REFUSED" }));
  },
);

test.each(["", "a b", "'", "{", "a;id", "&", "*", "~", "#", "ü", "\\"])("the value %j is refused", (value) => {
  expect(() => taskValue("target", value)).toThrow(expect.objectContaining({ code: "WORD_REFUSED" }));
});

describe("whatever words there are", () => {
  const piece = fc.constantFrom(
    ..."'\"\\ `|&;<>()*?[]#~=%!{}:,-\t\nü模$@aZ0".split(""),
    "\nsteps:\n- cmd: x",
    "' ; id ; '",
    "{{.Run.Registry}}",
    "$Registry",
    "--",
    ": ",
    "- ",
    "!!js",
    "&a",
    "*a",
  );
  const word = fc.oneof(
    fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join("")),
    fc.string({ unit: "binary", maxLength: 8 }),
  );
  const accepted = word.filter((word) => {
    try {
      quoteWord(word);
      return true;
    } catch {
      return false;
    }
  });

  test("they come out of YAML, templates and the agent's reading as they went in", () => {
    fc.assert(
      fc.property(fc.array(accepted, { minLength: 1, maxLength: 5 }), (words) => {
        expect(splitWords(commandOf(encodeTask(["image", ...words], 600)))).toEqual(["image", ...words]);
      }),
      { seed: 20_261_120, numRuns: count("taskWords") },
    );
  });

  test("a real shell sees the same words", () => {
    const words = fc.sample(accepted, { seed: 7, numRuns: 400 });
    for (let at = 0; at < words.length; at += 40) {
      const some = words.slice(at, at + 40);
      const output = execFileSync("/bin/sh", ["-c", String.raw`printf '%s\0' ${quoteWords(some)}`]);
      expect(output.toString().split("\0").slice(0, -1)).toEqual(some);
    }
  });

  test("values never need quotes", () => {
    fc.assert(
      fc.property(word, (value) => {
        try {
          taskValue("target", value);
        } catch {
          return;
        }
        expect(quoteWord(value)).toBe(value);
        expect(splitWords(fillTemplate(value, { run: {}, values: {} }))).toEqual([value]);
      }),
      { seed: 20_261_120, numRuns: count("taskWords") },
    );
  });
});
