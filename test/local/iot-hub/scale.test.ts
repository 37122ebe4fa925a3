// A fleet of 100,000 devices in one process: evaluations stay quick, and a stage costs the caller a fixed number of calls.
import { expect, test } from "vitest";
import type { DeviceConnection } from "../../../local/iot-hub/device-gateway.ts";
import { MINUTE_MS, baseContent, layerContent, moduleOf, startHub } from "./sdk.ts";

const DEVICES = 100_000;
const CONFIGURATIONS = 40;

const slotOf = (index: number): string => String(index % 100).padStart(2, "0");
const slots = (count: number): string =>
  Array.from({ length: count }, (_, slot) => `tags.lighter.slot='${slotOf(slot)}'`).join(" OR ");

async function timed(name: string, action: () => Promise<unknown>): Promise<void> {
  const before = process.cpuUsage();
  await action();
  const { user, system } = process.cpuUsage(before);
  process.stdout.write(`${name}: ${Math.round((user + system) / 1_000)} ms CPU\n`);
}

test("100,000 devices are targeted, widened and counted by a fixed number of calls", { timeout: 60_000 }, async () => {
  const { hub, clock, registry } = await startHub();
  const connections: DeviceConnection[] = [];
  const modules = { engine: { settings: { image: "r/engine:1" }, runtimeStatus: "running" } };
  let delivered = 0;
  await timed("register and connect 100,000 devices", async () => {
    for (let index = 0; index < DEVICES; index++) {
      const deviceId = `device-${index}`;
      hub.devices.register(deviceId, { lighter: { slot: slotOf(index) }, site: `site-${index % 7}` });
      const connection: DeviceConnection = hub.devices.connect(deviceId, {
        desired({ $version }) {
          delivered += 1;
          connection.report("$edgeAgent", { lastDesiredVersion: $version, lastDesiredStatus: { code: 200 }, modules });
        },
      });
      connections.push(connection);
    }
    await clock.advance(0);
  });
  expect(delivered).toBe(DEVICES);

  await registry.addConfiguration({
    id: "base",
    schemaVersion: "1.0",
    priority: 1,
    targetCondition: "*",
    content: baseContent({ engine: moduleOf("r/engine:1") }),
  });
  for (let index = 1; index < CONFIGURATIONS; index++) {
    const metrics = {
      queries: {
        running: `SELECT deviceId FROM devices.modules WHERE moduleId='$edgeAgent' AND configurations.[[layer-${index}]].status='Applied' AND properties.reported.modules.engine.runtimeStatus='running'`,
      },
    };
    await registry.addConfiguration({
      id: `layer-${index}`,
      schemaVersion: "1.0",
      priority: 10 + index,
      targetCondition: `tags.site='site-${index % 7}' AND (${slots(index)})`,
      content: layerContent(`extra${index}`, `r/extra:${index}`),
      metrics,
    });
  }
  await timed(`evaluate ${CONFIGURATIONS} new configurations`, () => clock.advance(30_000));
  await timed("evaluate an idle fleet", () => clock.advance(4.5 * MINUTE_MS));

  hub.resetCalls();
  const { responseBody: layer } = await registry.getConfiguration("layer-1");
  await registry.updateConfiguration({ ...layer, targetCondition: slots(50) });
  await timed("widen one configuration to half of the fleet", () => clock.advance(30_000));
  await timed("evaluate afterwards", () => clock.advance(4.5 * MINUTE_MS));
  const widened = (await registry.getConfiguration("layer-1")).responseBody;
  expect(widened.systemMetrics?.results).toEqual({
    targetedCount: DEVICES / 2,
    appliedCount: DEVICES / 2,
    reportedSuccessfulCount: DEVICES / 2,
    reportedFailedCount: 0,
  });
  expect(widened.metrics?.results).toEqual({ running: DEVICES / 2 });
  expect(hub.calls()).toEqual({ "configurations.get": 2, "configurations.put": 1 });

  await timed("register a thousand more and evaluate", async () => {
    for (let index = 0; index < DEVICES; index += 100)
      hub.devices.register(`late-${index}`, { lighter: { slot: "00" } });
    await clock.advance(5 * MINUTE_MS);
  });
  await timed("count by slot", async () => {
    const { result } = await registry
      .createQuery(
        "SELECT tags.lighter.slot AS slot, COUNT() AS devices FROM devices GROUP BY tags.lighter.slot",
        1_000,
      )
      .next();
    expect(result).toHaveLength(100);
  });
  process.stdout.write(`resident memory: ${Math.round(process.memoryUsage().rss / 2 ** 20)} MB\n`);
});
