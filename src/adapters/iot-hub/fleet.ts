// The devices of one IoT hub: counted, found, read and given slots through its query and twin APIs.
import { setTimeout as wait } from "node:timers/promises";
import type { Slot } from "../../core/rollout/slots.ts";
import type { HubFleet } from "../../ports/iot-hub.ts";
import type { HubClient } from "./hub-client.ts";
import { IotHubError } from "./iot-hub-error.ts";

/** Largest page the query API gives, and largest bulk operation the identity registry takes. */
const QUERY_PAGE = 1_000;
const BULK_SIZE = 100;

/** How long one call gives slots, in seconds of the hub's clock: far below the limits on how long a function may run. */
const ASSIGNING_SECONDS = 60;

/** What the service calls it, by name and by number. */
const DEVICE_NOT_FOUND: ReadonlySet<unknown> = new Set(["DeviceNotFound", 404_001]);

const EDGE = "capabilities.iotEdge = true";

function whereOf(condition: string): string {
  return condition === "*" || condition === "" ? EDGE : `${EDGE} AND (${condition})`;
}

interface AgentTwin {
  readonly properties?: {
    readonly reported?: {
      readonly modules?: Readonly<
        Record<string, { readonly runtimeStatus?: string; readonly settings?: { readonly image?: string } }>
      >;
    };
  };
}

/** What a bulk operation answers; the devices that are not listed were changed. */
interface BulkResult {
  readonly errors?: readonly { deviceId?: string; errorCode?: unknown; errorStatus?: string }[];
}

/** A bulk operation that failed for some of its devices answers 400 with the same list. */
function readRefusals(error: unknown): unknown {
  const cause = error instanceof IotHubError ? (error.cause as { readonly responseBody?: unknown }) : undefined;
  const text = cause?.responseBody;
  if (typeof text === "string" && text.startsWith('{"isSuccessful"')) return JSON.parse(text);
  throw error;
}

/** The pace of the fleet's bulk work. */
export interface FleetOptions {
  readonly devicesPerSecond: number;
  /** How many seconds of the hub's clock pass in a second. */
  readonly timeScale: number;
}

/** The fleet of the hub behind `client`. */
export function createHubFleet(
  { registry, run, post }: HubClient,
  { devicesPerSecond, timeScale }: FleetOptions,
): HubFleet {
  async function* pages(sql: string, size: number): AsyncGenerator<readonly Record<string, unknown>[]> {
    const query = registry.createQuery(sql, size);
    let continuation: string | undefined;
    do {
      const page = await run("query", sql, () => query.next(continuation as string));
      yield page.result as Record<string, unknown>[];
      continuation = query.continuationToken;
    } while (continuation);
  }

  async function setSlots(devices: readonly { readonly id: string; readonly slot: Slot }[]): Promise<void> {
    const body = devices.map(({ id, slot }) => ({ id, importMode: "updateTwin", tags: { lighter: { slot } } }));
    const result = (await post("assign slots", "/devices", body).catch(readRefusals)) as BulkResult;
    // A device that was deleted since it was found needs no slot.
    const first = result.errors?.find(({ errorCode }) => !DEVICE_NOT_FOUND.has(errorCode));
    if (first === undefined) return;
    throw new IotHubError("CONFLICT", {
      operation: "assign slots",
      subject: first.deviceId ?? "?",
      got: `${String(first.errorCode)} ${first.errorStatus ?? ""}`,
    });
  }

  return {
    async countDevices(condition) {
      for await (const page of pages(`SELECT COUNT() AS devices FROM devices WHERE ${whereOf(condition)}`, 1)) {
        for (const row of page) return Number(row["devices"] ?? 0);
      }
      return 0;
    },
    async findDevices(condition, limit) {
      for await (const page of pages(`SELECT deviceId FROM devices WHERE ${whereOf(condition)}`, limit)) {
        return page.slice(0, limit).map((row) => String(row["deviceId"]));
      }
      return [];
    },
    async readModule(deviceId, moduleName) {
      const { responseBody } = await run("read twin", `${deviceId}/$edgeAgent`, () =>
        registry.getModuleTwin(deviceId, "$edgeAgent"),
      );
      const module = (responseBody as unknown as AgentTwin).properties?.reported?.modules?.[moduleName];
      return module && { image: module.settings?.image ?? "", runtimeStatus: module.runtimeStatus ?? "unknown" };
    },
    async assignSlots(slotOf, continuation) {
      const size = Math.max(1, Math.min(QUERY_PAGE, Math.floor(devicesPerSecond * ASSIGNING_SECONDS)));
      const unslotted = `SELECT deviceId FROM devices WHERE ${EDGE} AND NOT IS_DEFINED(tags.lighter.slot)`;
      // One page in a call. The next goes on behind it rather than ask anew: queries lag by up to half an hour and would
      // show the same devices again.
      const query = registry.createQuery(unslotted, size);
      const page = await run("query", unslotted, () => query.next(continuation as string));
      const ids = (page.result as Record<string, unknown>[]).map((row) => String(row["deviceId"]));
      let dueMs = performance.now();
      for (let start = 0; start < ids.length; start += BULK_SIZE) {
        const batch = ids.slice(start, start + BULK_SIZE);
        await setSlots(batch.map((id) => ({ id, slot: slotOf(id) })));
        dueMs += ((batch.length / devicesPerSecond) * 1_000) / timeScale;
        const pauseMs = dueMs - performance.now();
        if (pauseMs > 0) await wait(pauseMs);
      }
      const next = query.continuationToken;
      return { assigned: ids.length, ...(next ? { continuation: next } : {}) };
    },
  };
}
