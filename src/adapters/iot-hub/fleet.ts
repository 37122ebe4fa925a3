// The devices of one IoT hub: counted, found, read and given slots through its query and twin APIs.
import type { Slot } from "../../core/rollout/slots.ts";
import type { HubFleet } from "../../ports/iot-hub.ts";
import type { HubClient } from "./hub-client.ts";
import { IotHubError } from "./iot-hub-error.ts";

/** Largest page the query API gives, and largest bulk operation the identity registry takes. */
const QUERY_PAGE = 1_000;
const BULK_SIZE = 100;

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

/** Options of the fleet's bulk work. */
export interface FleetOptions {
  /** Pause between bulk operations in ms, so that slot assignment stays within its share of the quota. */
  readonly bulkPauseMs: number;
}

/** The fleet of the hub behind `client`. */
export function createHubFleet({ registry, run, post }: HubClient, { bulkPauseMs }: FleetOptions): HubFleet {
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
    const result = (await post("assign slots", "/devices", body)) as {
      isSuccessful?: boolean;
      errors?: readonly { deviceId?: string; errorCode?: unknown; errorStatus?: string }[];
    };
    const [first] = result.errors ?? [];
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
    async assignSlots(slotOf) {
      let assigned = 0;
      const unslotted = `SELECT deviceId FROM devices WHERE ${EDGE} AND NOT IS_DEFINED(tags.lighter.slot)`;
      for await (const page of pages(unslotted, QUERY_PAGE)) {
        const devices = page.map((row) => String(row["deviceId"])).map((id) => ({ id, slot: slotOf(id) }));
        for (let start = 0; start < devices.length; start += BULK_SIZE) {
          const batch = devices.slice(start, start + BULK_SIZE);
          await setSlots(batch);
          assigned += batch.length;
          if (bulkPauseMs > 0) await new Promise((resolve) => setTimeout(resolve, bulkPauseMs));
        }
      }
      return assigned;
    },
  };
}
