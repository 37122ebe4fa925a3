// Reads host.json: the keys that this host honours, with the service's defaults.
import { availableParallelism } from "node:os";
import { z } from "zod";
import { FunctionsHostError } from "./errors.ts";

/** The format of .NET time spans, `[d.]hh:mm:ss[.fff]`. */
const TIME_SPAN = /^(?:(\d+)\.)?(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,7}))?)?$/;

/** Milliseconds of a .NET time span such as `00:05:00` or `6.00:00:00`; undefined when it is none. */
export function parseTimeSpan(text: string): number | undefined {
  const match = TIME_SPAN.exec(text);
  if (match === null) return undefined;
  const [days = 0, hours = 0, minutes = 0, seconds = 0] = match.slice(1, 5).map((part) => Number(part ?? 0));
  const fraction = Number(`0.${match[5] ?? 0}`);
  return (((days * 24 + hours) * 60 + minutes) * 60 + seconds + fraction) * 1_000;
}

const count = z.number().int().positive();
const perCore = 10 * availableParallelism();

/** host.json's `extensions.durableTask`. */
export interface DurableTaskSettings {
  readonly hubName: string;
  readonly maxConcurrentActivityFunctions: number;
  readonly maxConcurrentOrchestratorFunctions: number;
  readonly maxConcurrentEntityFunctions: number;
  readonly maxEntityOperationBatchSize: number;
  readonly httpSettings: { readonly defaultAsyncRequestSleepTimeMilliseconds: number };
}

/** host.json with defaults filled in; further keys stay as they are for other triggers to read. */
export interface HostJson {
  readonly extensions: {
    readonly http: { readonly routePrefix: string };
    readonly durableTask: DurableTaskSettings;
    readonly [name: string]: unknown;
  };
  readonly [name: string]: unknown;
}

const schema: z.ZodType<HostJson> = z.looseObject({
  version: z.literal("2.0").default("2.0"),
  extensions: z
    .looseObject({
      http: z.looseObject({ routePrefix: z.string().default("api") }).default({ routePrefix: "api" }),
      durableTask: z
        .looseObject({
          hubName: z
            .string()
            .regex(/^(%[^%]+%|[A-Za-z][A-Za-z0-9]{2,44})$/, "3 to 45 letters and digits, a letter first")
            .default("TestHubName"),
          maxConcurrentActivityFunctions: count.default(perCore),
          maxConcurrentOrchestratorFunctions: count.default(perCore),
          maxConcurrentEntityFunctions: count.default(perCore),
          maxEntityOperationBatchSize: count.default(50),
          httpSettings: z
            .looseObject({ defaultAsyncRequestSleepTimeMilliseconds: count.default(30_000) })
            .default({ defaultAsyncRequestSleepTimeMilliseconds: 30_000 }),
        })
        .prefault({}),
    })
    .prefault({}),
});

/** Checks the content of host.json; throws BAD_HOST_JSON with the path of what is wrong. */
export function parseHostJson(content: unknown): HostJson {
  const parsed = schema.safeParse(content ?? {});
  if (parsed.success) return parsed.data;
  throw new FunctionsHostError("BAD_HOST_JSON", {
    operation: "read",
    subject: "host.json",
    got: z.prettifyError(parsed.error),
  });
}
