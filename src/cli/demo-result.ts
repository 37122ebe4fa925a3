// Prints what the demo found: a table for people, one JSON object for programs.
import { formatBytes } from "./format.ts";
import { createPaint } from "./paint.ts";

/** What the embedded stack's demo reports at its end. */
export interface DemoResult {
  readonly device: { readonly fullBytes: number; readonly rebasedBytes: number };
  readonly deltaLayerBytes: number;
  readonly verified: string;
  readonly layers: { readonly candidate: number; readonly rebased: number };
  readonly stages: readonly {
    readonly ring: string;
    readonly devices: number;
    readonly running: number;
    readonly state: string;
  }[];
  readonly rollback: {
    readonly state: string;
    readonly reason: string;
    readonly exposedDevices: number;
    readonly bytesBeyondCanary: number;
    readonly untouchedDevices: number;
    readonly restoredDevices: number;
  };
  readonly fleet: readonly {
    readonly devices: number;
    readonly fullBytes: number;
    readonly rebasedBytes: number;
    readonly fullCost: string;
    readonly rebasedCost: string;
  }[];
  readonly statusUrl: string;
  readonly seconds: Readonly<Record<string, number>>;
}

/** Writes the result to `stream`. */
export async function printDemoResult(
  result: DemoResult,
  json: boolean | undefined,
  stream: NodeJS.WriteStream,
): Promise<void> {
  if (json === true) {
    stream.write(`${JSON.stringify(result)}\n`);
    return;
  }
  const { default: Table } = await import("cli-table3");
  const paint = createPaint(stream);
  const style = { head: [], border: paint.isColorSupported ? ["gray"] : [] };
  const { device, rollback, seconds } = result;

  const sizes = new Table({
    head: ["version 1 → 2", "as pushed", "rebased by Lighter", "factor"].map(paint.bold),
    style,
  });
  const factor = `${Math.round(device.fullBytes / device.rebasedBytes).toLocaleString("en-US")} ×`;
  sizes.push([
    "one device, on the wire",
    formatBytes(device.fullBytes),
    paint.green(formatBytes(device.rebasedBytes)),
    factor,
  ]);
  for (const fleet of result.fleet) {
    sizes.push([
      `${fleet.devices.toLocaleString("en-US")} devices`,
      `${formatBytes(fleet.fullBytes)}\n${fleet.fullCost}`,
      paint.green(`${formatBytes(fleet.rebasedBytes)}\n${fleet.rebasedCost}`),
      factor,
    ]);
  }

  const facts = new Table({ style, wordWrap: true, colWidths: [14, 63] });
  facts.push(
    [
      "delta layer",
      `${formatBytes(result.deltaLayerBytes)} on the ${result.layers.rebased - 1} layers that devices hold`,
    ],
    ["verified", result.verified === "exact" ? paint.green("exact") : paint.red(result.verified)],
    ...result.stages.map(({ ring, devices, running, state }) => [
      `ring ${ring}`,
      `${state}: ${running} of ${devices} devices run it`,
    ]),
    ["version 3", rollback.reason],
    [
      "rollback",
      [
        `${rollback.state}: ${rollback.restoredDevices} of ${rollback.exposedDevices} exposed devices restored`,
        `${rollback.untouchedDevices} others untouched, ${rollback.bytesBeyondCanary} B pulled by them`,
      ].join("\n"),
    ],
    [
      "seconds",
      Object.entries(seconds)
        .map(([step, took]) => `${step} ${took}`)
        .join(", "),
    ],
  );
  stream.write(`\n${sizes.toString()}\n${facts.toString()}\nstatus of version 2: ${result.statusUrl}\n`);
}
