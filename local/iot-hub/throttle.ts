// The service's operation throttles: token buckets per class of operation, filled by the clock.
import type { Clock } from "../clock.ts";
import { IotHubError } from "./iot-hub-error.ts";

/** The classes of operations that the service limits each for itself. */
export type OperationClass = "configuration" | "query" | "twinRead" | "twinUpdate" | "identity" | "job" | "method";

/** The tiers of the service: free and standard. */
export type Sku = "F1" | "S1" | "S2" | "S3";

/** A rate: so many operations per so many ms; the bucket holds as many as one period allows. */
interface Rate {
  readonly operations: number;
  readonly periodMs: number;
}

const SECOND = 1_000;
const MINUTE = 60_000;

/** The documented rates for a tier and its number of units. */
function ratesOf(sku: Sku, units: number): Readonly<Record<OperationClass, Rate>> {
  const large = sku === "S3";
  const small = sku === "F1" || sku === "S1";
  const perSecond = (floor: number, perUnit: number, largePerUnit: number): Rate => {
    if (large) return { operations: largePerUnit * units, periodMs: SECOND };
    return { operations: small ? floor : Math.max(floor, perUnit * units), periodMs: SECOND };
  };
  const perMinute = (each: number, largeEach: number): Rate => ({
    operations: (large ? largeEach : each) * units,
    periodMs: MINUTE,
  });
  return {
    configuration: perMinute(20, 20),
    query: perMinute(20, 1_000),
    identity: perMinute(100, 5_000),
    job: perMinute(100, 5_000),
    twinRead: perSecond(100, 10, 500),
    twinUpdate: perSecond(50, 5, 250),
    // 160 KB, 480 KB and 24 MB per second and unit, metered by 4 KB.
    method: { operations: (large ? 6_000 : small ? 40 : 120) * units, periodMs: SECOND },
  };
}

/** How many jobs may be active at once, by tier. */
export const CONCURRENT_JOBS: Readonly<Record<Sku, number>> = { F1: 1, S1: 1, S2: 5, S3: 10 };

/** How many configurations a hub may hold, by tier. */
export const CONFIGURATION_LIMIT: Readonly<Record<Sku, number>> = { F1: 10, S1: 100, S2: 100, S3: 100 };

/** How many devices jobs may touch per second. */
export function jobDevicesPerSecond(sku: Sku, units: number): number {
  if (sku === "S3") return 50 * units;
  return sku === "S2" ? Math.max(10, units) : 10;
}

/** Limits the rate of operations by class. */
export interface Throttle {
  /** Takes a token; throws ThrottlingException when there is none. */
  take(operation: OperationClass): void;
}

/** Creates full buckets for a tier; a clock that runs faster fills them faster. */
export function createThrottle(sku: Sku, units: number, clock: Clock): Throttle {
  const rates = ratesOf(sku, units);
  const buckets = new Map<OperationClass, { tokens: number; atMs: number }>();
  return {
    take(operation) {
      const { operations, periodMs } = rates[operation];
      const now = clock.now();
      const bucket = buckets.get(operation) ?? { tokens: operations, atMs: now };
      buckets.set(operation, bucket);
      bucket.tokens = Math.min(operations, bucket.tokens + ((now - bucket.atMs) * operations) / periodMs);
      bucket.atMs = now;
      // Sums of fractions fall short of whole tokens by a rounding error.
      if (bucket.tokens < 1 - 1e-9) {
        throw new IotHubError(
          429,
          "ThrottlingException",
          `The request has been throttled. Wait 10 seconds and try again. Operation type: ${operation}`,
        );
      }
      bucket.tokens -= 1;
    },
  };
}

/** A throttle that lets everything pass. */
export const NO_THROTTLE: Throttle = { take: () => {} };
