// Validates a tariff: of the configuration file, or as people type it.
import { z } from "zod";
import { LighterError } from "../errors.ts";
import type { Tariff } from "./tariff.ts";

/** A tariff as the configuration file holds it; everything has a default. */
export const tariffSchema: z.ZodType<Tariff> = z
  .strictObject({
    currency: z
      .string()
      .regex(/^[A-Z]{3}$/)
      .default("USD"),
    perGigabyte: z.number().nonnegative().default(24),
    pool: z
      .strictObject({
        sims: z.int().positive(),
        gigabytes: z.number().positive(),
        price: z.number().nonnegative(),
      })
      .optional(),
  })
  .prefault({});

/** A tariff could not be understood. */
export class TariffError extends LighterError<"TARIFF_INVALID"> {
  override readonly name = "TariffError";
}

/**
 * Reads a tariff as people give it: a price per gigabyte, e.g. `24`, or the JSON of a tariff.
 * @throws TariffError TARIFF_INVALID
 */
export function parseTariff(text: string): Tariff {
  const refuse = (got: string, cause?: unknown): never => {
    const want = 'a price per GB, or JSON like {"currency":"EUR","perGigabyte":9}';
    throw new TariffError("TARIFF_INVALID", { operation: "read tariff", subject: text.slice(0, 80), got, want, cause });
  };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    return refuse("no number and no JSON", cause);
  }
  const parsed = tariffSchema.safeParse(typeof json === "number" ? { perGigabyte: json } : json);
  return parsed.success ? parsed.data : refuse(z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, " "));
}
