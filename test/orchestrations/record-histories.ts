// Records the histories of real releases on the embedded stack: `node test/orchestrations/record-histories.ts`, after a build.
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CALM_BEHAVIOUR, createSeededBehaviour } from "../../local/edge-device/accounted-behaviour.ts";
import { findProjectFolder } from "../../local/stack.ts";
import type { ReleaseView } from "../../src/core/release/view.ts";
import { sha256 } from "../support/memory-registries.ts";
import { createStackFixture, REPOSITORY } from "../support/stack-fixture.ts";
import { compact, type TurnLine } from "./histories.ts";

const folder = findProjectFolder();
const scratch = mkdtempSync(join(tmpdir(), "lighter-record-"));
const file = join(scratch, "turns.jsonl");
writeFileSync(file, "");

const fixture = await createStackFixture({
  app: {
    folder,
    entries: [...globSync("dist/src/functions/*.js", { cwd: folder }), "test/orchestrations/apps/recording.ts"],
  },
  settings: { LIGHTER_RECORD: file },
});
let crashing = "none";
fixture.addFleet(
  60,
  createSeededBehaviour({
    seed: 3,
    table: CALM_BEHAVIOUR,
    imageChanges: (image) => (image.includes(crashing) ? { crashLoop: { rate: 1, afterMs: 1_000 } } : undefined),
  }),
);

/** Writes what was recorded of a release and of what it started. */
function save(scenario: string, { id, state, reason }: ReleaseView): void {
  const lines = readFileSync(file, "utf8").trim().split("\n");
  const turns = lines.map((line) => JSON.parse(line) as TurnLine);
  const executions = compact(turns.filter(({ turn }) => turn.instanceId.startsWith(id)));
  const target = join(import.meta.dirname, "histories", `${scenario}.jsonl`);
  writeFileSync(target, executions.map((execution) => `${JSON.stringify(execution)}\n`).join(""));
  console.log(`${scenario}: ${state} (${reason}), ${executions.length} executions`);
}

async function release(version: number, tag: string): Promise<ReleaseView> {
  await fixture.push(await fixture.build(version), tag);
  return fixture.finished(tag);
}

const running = (tag: string): Promise<ReleaseView> =>
  fixture.until(`the rollout of ${tag}`, async () =>
    (await fixture.releases()).find(
      (view) => view.tag === tag && view.rollouts["main"]?.stages.some(({ state }) => state === "baking"),
    ),
  );

try {
  save("refused", await release(1, "0"));
  await fixture.stack.call("POST", "products/detector/baseline", { absent: true });
  await fixture.push(await fixture.build(2), "1");
  save("completed-whole", await fixture.finished("1"));
  save("completed-rebased", await release(3, "2"));

  // The same files under another creation time: another digest with nothing to ship.
  const again = await fixture.build(3);
  const manifest = JSON.parse(Buffer.from(again.manifest).toString()) as Record<string, unknown>;
  const bytes = Buffer.from(JSON.stringify({ ...manifest, annotations: { build: "again" } }));
  await fixture.push({ ...again, manifest: bytes, digest: sha256(bytes) }, "3");
  save("nothing-to-do", await fixture.finished("3"));

  crashing = ":iot-4@";
  save("rolled-back", await release(4, "4"));

  await fixture.push(await fixture.build(5), "5");
  await running("5");
  await fixture.push(await fixture.build(6), "6");
  save("superseded", await fixture.finished("5"));
  const sixth = await running("6");
  await fixture.stack.call("POST", `releases/${sixth.id}/abort`, { reason: "enough seen" });
  save("aborted", await fixture.finished("6"));

  await fixture.push(await fixture.build(7), "7");
  const seventh = await running("7");
  await fixture.stack.call("POST", `releases/${seventh.id}/rollback`, { reason: "asked for" });
  save("rolled-back-by-command", await fixture.finished("7"));

  // Layers of a type that nobody knows fail for good.
  const broken = await fixture.build(8);
  const altered = JSON.parse(Buffer.from(broken.manifest).toString()) as { layers: { mediaType: string }[] };
  for (const layer of altered.layers) layer.mediaType = "application/vnd.example.unknown";
  const unknown = Buffer.from(JSON.stringify(altered));
  await fixture.push({ ...broken, manifest: unknown, digest: sha256(unknown) }, "8");
  save("failed", await fixture.finished("8"));
} finally {
  await fixture.close();
  rmSync(scratch, { recursive: true, force: true });
}
console.log(`recorded releases of ${REPOSITORY}`);
