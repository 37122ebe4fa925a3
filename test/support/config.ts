// A small valid configuration for tests.
import type { Config } from "../../src/core/config.ts";
import { configSchema } from "../../src/core/config-schema.ts";

/** The text-level form of a configuration with one hub and one product, before defaults are filled in. */
export function rawConfig(): Record<string, unknown> & {
  hubs: Record<string, unknown>[];
  products: (Record<string, unknown> & { rollout: Record<string, unknown> })[];
} {
  return {
    hubs: [{ name: "main", connectionSetting: "IOTHUB_MAIN" }],
    products: [
      {
        name: "detector",
        registry: "127.0.0.1:5000",
        repository: "team/detector",
        module: { name: "detector" },
        rollout: { hubs: ["main"] },
      },
    ],
  };
}

/** The same, validated. */
export function sampleConfig(): Config {
  return configSchema.parse(rawConfig());
}
