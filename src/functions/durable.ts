// What functions do with the durable client: start releases and wake what waits in them.
import type { InvocationContext } from "@azure/functions";
import * as df from "durable-functions";
import type { ReleaseRecord } from "../core/release/record.ts";
import { holdInstance, runInstance, watchInstance } from "../orchestrations/instance-ids.ts";
import { RELEASE, type ReleaseInput } from "../orchestrations/release.ts";
import { WAKE_EVENT } from "../orchestrations/watch.ts";

/** Whether an instance exists, in any state; the client throws on those it does not know. */
async function exists(client: df.DurableClient, instanceId: string): Promise<boolean> {
  try {
    return Boolean(await client.getStatus(instanceId));
  } catch (error) {
    if (error instanceof Error && error.message.includes("404")) return false;
    throw error;
  }
}

/**
 * A starter of releases that starts each once.
 *
 * `startNew` would run a finished instance again and fail on a running one, so existing instances are left alone; of two
 * that start at the same moment, the loser's failure is no failure.
 */
export function createStarter(context: InvocationContext): (releaseId: string) => Promise<void> {
  const client = df.getClient(context);
  return async (releaseId) => {
    if (await exists(client, releaseId)) return;
    const input: ReleaseInput = { releaseId };
    try {
      await client.startNew(RELEASE, { instanceId: releaseId, input });
    } catch (error) {
      if (!(await exists(client, releaseId))) throw error;
    }
  };
}

/** Makes every watch of a release look at once; those that are not waiting are left alone. */
export async function wakeRelease(context: InvocationContext, record: ReleaseRecord): Promise<void> {
  const client = df.getClient(context);
  const waiting = Object.values(record.rollouts).flatMap(({ hub, stages }) => [
    watchInstance(record.id, hub, "acquire"),
    watchInstance(record.id, hub, "slots"),
    watchInstance(record.id, hub, "rollback"),
    ...stages.map((_stage, ring) => watchInstance(record.id, hub, ring)),
  ]);
  const instances = [holdInstance(record.id), runInstance(record.id), ...waiting];
  await Promise.all(
    instances.map(async (instance) => {
      try {
        await client.raiseEvent(instance, WAKE_EVENT, {});
      } catch (error) {
        context.debug(`no watch ${instance} to wake: ${String(error)}`);
      }
    }),
  );
}
