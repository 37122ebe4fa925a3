// `lighter advise` as a real process on the demo's images, whose model lies below dependencies that are created anew.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildDemoImages, type DemoImages, type DemoVersion } from "../../local/demo/images.ts";
import { createRegistry, type LocalRegistry } from "../../local/registry/registry.ts";
import { tryRun, type RunResult } from "../support/run.ts";

const root = resolve(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "lighter-advise-"));
let registry: LocalRegistry;
let demo: DemoImages;

const lighter = (...args: string[]): Promise<RunResult> =>
  tryRun(process.execPath, [join(root, "src/cli/main.ts"), "advise", ...args]);
const ref = (version: number): string => `${registry.host}/fleet/forecast:${version}`;
const dependenciesOf = (version: DemoVersion): number =>
  demo.images.find((image) => image.version === version)?.layers.dependencies.size ?? 0;

beforeAll(async () => {
  registry = await createRegistry({ folder: join(folder, "registry") });
  demo = await buildDemoImages({
    folder: join(folder, "images"),
    nodeModulesFolder: join(root, "node_modules", "@azure"),
    seed: 11,
    dependencyFiles: 200,
    dependencyBytes: 2_000_000,
  });
  for (const version of [1, 2, 3] as const)
    await demo.push(version, { registryUrl: registry.url, repository: "fleet/forecast" });
}, 60_000);

afterAll(async () => {
  await registry.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("lighter advise", () => {
  test("tells the churning instruction, its bytes and the order that helps, as JSON and in words", async () => {
    // Earlier images in any order: they say themselves when they were made.
    const { code, stdout, stderr } = await lighter(ref(3), ref(1), ref(2), "--json");
    expect([code, stderr]).toEqual([0, ""]);
    const churn = Math.round((dependenciesOf(2) + dependenciesOf(3)) / 2);
    expect(churn).toBeGreaterThan(1_900_000);
    expect(JSON.parse(stdout)).toMatchObject({
      image: { reference: ref(3) },
      earlier: [{ reference: ref(2) }, { reference: ref(1) }],
      pushes: 2,
      instructions: [
        { layer: 1, createdBy: "ADD base /", churnBytes: 0, pushes: { same: 2 } },
        {
          layer: 2,
          createdBy: "COPY azureml-app /var/azureml-app",
          class: "model",
          churnBytes: 0,
          pushes: { changed: 2 },
        },
        {
          layer: 3,
          createdBy: "RUN conda env create -p /opt/conda",
          class: "dependencies",
          churnBytes: churn,
          pushes: { rebuilt: 2 },
        },
      ],
      hidden: [],
      advice: [{ kind: "reorder", layers: [3, 2], bytes: churn, estimated: false }],
    });
    const table = await lighter(ref(3), ref(2));
    expect(table.code).toBe(0);
    expect(table.stdout).toContain("1 × built anew, equal");
    expect(table.stdout).toContain(
      "reorder: put “RUN conda env create -p /opt/conda” (layer 3) before “COPY azureml-app /var/azureml-app” (layer 2)",
    );
  });

  test("goes by what layers hold when there is no earlier image", async () => {
    const { code, stdout } = await lighter(ref(2), "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      pushes: 0,
      earlier: [],
      advice: [{ kind: "reorder", layers: [3, 2], bytes: dependenciesOf(2) }],
    });
    expect((await lighter(ref(2), ref(2))).stdout).toContain("by what its layers hold");
  });

  test("of images that are not there, or for another platform, exits 2", async () => {
    expect((await lighter(ref(2), ref(9))).code).toBe(2);
    expect((await lighter(ref(2), "--platform", "linux/s390x")).code).toBe(2);
    expect((await lighter()).code).toBe(2);
  });
});
