// Reads and validates the configuration file.
import { z } from "zod";
import type { Config } from "./config.ts";
import { tariffSchema } from "./cost/tariff-schema.ts";
import { LighterError } from "./errors.ts";
import { DRIFT_CLASSES } from "./image/drift.ts";
import { runRulesSchema } from "./release/rebase-run.ts";
import { parseSlots, SLOT_RANGES } from "./rollout/slots.ts";

const name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, "lower-case letters, digits and dashes, at most 40");

const gateRules = {
  successPercent: z.number().min(0).max(100),
  failurePercent: z.number().min(0).max(100),
  minimumFailures: z.int().min(1),
  bakeMinutes: z.number().nonnegative(),
  timeoutMinutes: z.number().positive(),
  onTimeout: z
    .enum(["proceed", "rollback"])
    .describe("proceed: devices that never reported are left behind if those that did meet successPercent"),
};

/** When a stage is good, when it is bad, and how long to look. Percentages are of the devices that the hub targets. */
const gateSchema = z.strictObject({
  successPercent: gateRules.successPercent.default(95),
  failurePercent: gateRules.failurePercent.default(5),
  minimumFailures: gateRules.minimumFailures.default(1),
  bakeMinutes: gateRules.bakeMinutes.default(30),
  timeoutMinutes: gateRules.timeoutMinutes.default(240),
  onTimeout: gateRules.onTimeout.default("proceed"),
});

const ringSchema = z.strictObject({
  name,
  slots: z.string().regex(SLOT_RANGES, "two-digit slots and ranges, e.g. 00-04,10"),
  gate: z.strictObject(gateRules).partial().optional(),
});

const rolloutSchema = z
  .strictObject({
    hubs: z.array(name).min(1),
    targetCondition: z.string().min(1).default("*"),
    rings: z
      .array(ringSchema)
      .min(1)
      .default([
        { name: "canary", slots: "00-04" },
        { name: "early", slots: "05-24" },
        { name: "fleet", slots: "25-99" },
      ]),
    gate: gateSchema.prefault({}),
    pollSeconds: z.number().min(1).default(300).describe("the hub evaluates about every 5 minutes"),
  })
  .superRefine(({ rings }, context) => {
    const owners = new Map<string, string>();
    for (const [index, ring] of rings.entries()) {
      const slots = parseSlots(ring.slots);
      const taken = slots.find((slot) => owners.has(slot));
      const problem =
        slots.length === 0 ? "is empty" : taken && `shares slot ${taken} with ring ${String(owners.get(taken))}`;
      if (problem) {
        context.addIssue({ code: "custom", path: ["rings", index, "slots"], message: `ring ${ring.name} ${problem}` });
      }
      for (const slot of slots) owners.set(slot, ring.name);
    }
  });

const environmentSchema = z.record(z.string(), z.strictObject({ value: z.string() }));

const moduleSchema = z.strictObject({
  name: z.string().regex(/^[a-zA-Z0-9_-]+$/),
  createOptions: z.record(z.string(), z.unknown()).default({}),
  env: environmentSchema.default({}),
  restartPolicy: z.enum(["never", "on-failure", "on-unhealthy", "always"]).default("always"),
  imagePullPolicy: z.enum(["on-create", "never"]).default("on-create"),
  startupOrder: z.int().min(0).optional(),
});

const pattern = z.string().refine((source) => {
  try {
    return Boolean(new RegExp(source));
  } catch {
    return false;
  }
}, "a regular expression");

const engineSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("direct") }),
  z.strictObject({
    kind: z.literal("acr-tasks"),
    runner: z.enum(["cmd", "build"]).default("cmd"),
    image: z.string().min(1).optional(),
    task: z.string().min(1).optional(),
    agentPool: z.string().min(1).optional(),
    identity: z.string().min(1).optional(),
    timeoutSeconds: z.int().min(300).max(28_800).optional(),
    runs: runRulesSchema.prefault({}),
  }),
]);

const productSchema = z.strictObject({
  name,
  registry: z.string().min(1).describe("host[:port] as devices and pushers name it"),
  repository: z.string().regex(/^[a-z0-9]+([._/-]+[a-z0-9]+)*$/),
  tags: pattern.default(".*").describe("only pushes of matching tags start a release"),
  platform: z
    .string()
    .regex(/^[a-z0-9]+\/[a-z0-9]+(\/[a-z0-9]+)?$/)
    .default("linux/amd64"),
  targetTagPrefix: z
    .string()
    .regex(/^[a-zA-Z0-9_][a-zA-Z0-9_.-]*$/)
    .default("iot-"),
  maxLayers: z.int().min(2).max(127).default(100).describe("beyond it deltas are folded onto the first anchor"),
  onDrift: z
    .partialRecord(z.enum(DRIFT_CLASSES), z.enum(["release", "hold", "reject"]))
    .default({})
    .describe("what happens to a candidate by its class of drift; release unless said otherwise"),
  wholeAbovePercent: z.number().min(0).max(100).default(90),
  engine: engineSchema.default({ kind: "direct" }),
  module: moduleSchema,
  rollout: rolloutSchema,
});

const hubSchema = z.strictObject({
  name,
  connectionSetting: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]*$/)
    .describe("the app setting that holds a connection string, or a host name to be used with the app's identity"),
  priorities: z
    .strictObject({ from: z.int().min(1), to: z.int().min(1) })
    .refine(({ from, to }) => from < to, "from must be below to")
    .prefault({ from: 10_000, to: 19_999 })
    .describe("the band of deployment priorities reserved for Lighter; above every base deployment"),
  slotAssignment: z
    .strictObject({
      devicesPerSecond: z
        .number()
        .min(0.1)
        .max(10_000)
        .default(25)
        .describe(
          "devices that are given a slot per second, a hundred in a call, once in their lives; the default takes half of the 50 twin updates a second, and a sixth of the 100 identity calls a minute, of one S1 unit",
        ),
    })
    .prefault({}),
});

function reportRepeated(context: z.RefinementCtx, path: string, keys: readonly string[]): void {
  for (const [index, key] of keys.entries()) {
    if (keys.indexOf(key) === index) continue;
    context.addIssue({ code: "custom", path: [path, index], message: `repeats ${key}` });
  }
}

/** The whole file. Unknown keys are refused. */
export const configSchema: z.ZodType<Config> = z
  .strictObject({
    $schema: z.string().optional(),
    tariff: tariffSchema,
    hubs: z.array(hubSchema),
    products: z.array(productSchema),
  })
  .superRefine(({ hubs, products }, context) => {
    reportRepeated(
      context,
      "hubs",
      hubs.map((hub) => hub.name),
    );
    reportRepeated(
      context,
      "products",
      products.map((product) => product.name),
    );
    reportRepeated(
      context,
      "products",
      products.map((product) => `${product.registry}/${product.repository}`),
    );
    for (const [index, product] of products.entries()) {
      for (const hub of product.rollout.hubs) {
        if (hubs.some((known) => known.name === hub)) continue;
        context.addIssue({
          code: "custom",
          path: ["products", index, "rollout", "hubs"],
          message: `no hub is named ${hub}`,
        });
      }
    }
  });

/**
 * Reads the text of a configuration file.
 * @throws LighterError CONFIG_NOT_JSON, CONFIG_INVALID (with the path of every problem)
 */
export function parseConfig(text: string, subject: string): Config {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new LighterError("CONFIG_NOT_JSON", {
      operation: "read configuration",
      subject,
      got: (cause as Error).message,
      want: "JSON",
      cause,
    });
  }
  const result = configSchema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => `${issue.path.join(".") || "(root)"}: ${issue.message}`);
  throw new LighterError("CONFIG_INVALID", {
    operation: "read configuration",
    subject,
    got: problems.join("; "),
    want: "a configuration as docs/lighter.schema.json describes",
  });
}
