// Validates a tariff.
import { z } from "zod";
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
