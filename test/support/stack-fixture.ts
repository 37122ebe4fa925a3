// The embedded stack for end-to-end tests: tiny images, a fleet that accounts, and waiting for releases over HTTP.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { assembleImage } from "../../local/demo/assemble-image.ts";
import { writeLayer, type LayerEntry } from "../../local/demo/layer.ts";
import { pushImage, type PushableImage } from "../../local/demo/push-image.ts";
import { createSeededBytes } from "../../local/demo/seeded-bytes.ts";
import {
  createAccountedFleet,
  type AccountedFleet,
  type AccountedFleetOptions,
} from "../../local/edge-device/accounted-fleet.ts";
import type { Behaviour, BehaviourTable } from "../../local/edge-device/accounted-behaviour.ts";
import { createStack, HUB_NAME, type Stack, type StackOptions } from "../../local/stack.ts";
import type { ReleaseView } from "../../src/core/release/view.ts";

/** The repository of the one product in these stacks. */
export const REPOSITORY = "team/detector";

/** Gate rules that pass healthy fleets within an hour of the stack's clock. */
const GATE = { successPercent: 90, failurePercent: 10, bakeMinutes: 10, timeoutMinutes: 120 };

/** A running stack with helpers around it. */
export interface StackFixture {
  readonly stack: Stack;
  readonly folder: string;
  /** Builds `version` of the image: a base, a model and a dependency layer that differs from others only in mtimes. */
  build(version: number, change?: (entries: LayerEntry[]) => LayerEntry[]): Promise<PushableImage>;
  push(image: PushableImage, tag: string, repository?: string): Promise<void>;
  /** Adds devices that account for what they would pull. */
  addFleet(
    count: number,
    behaviour?: Behaviour | BehaviourTable,
    more?: Pick<AccountedFleetOptions, "deviceId" | "tagsOf">,
  ): AccountedFleet;
  releases(): Promise<readonly ReleaseView[]>;
  /** Polls until a release is over, for at most `seconds` of wall time. */
  finished(tag: string, seconds?: number): Promise<ReleaseView>;
  /** Polls until `look` gives something. */
  until<T>(what: string, look: () => Promise<T | undefined>, seconds?: number): Promise<T>;
  close(): Promise<void>;
}

/** What may differ between tests. */
export interface FixtureOptions {
  readonly timeScale?: number;
  readonly hub?: StackOptions["hub"];
  readonly rollout?: Readonly<Record<string, unknown>>;
  readonly product?: Readonly<Record<string, unknown>>;
  /** More products by name, each with repository `team/<name>` and a module of its name; the value is its rollout rules. */
  readonly products?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly app?: NonNullable<StackOptions["app"]>;
  readonly settings?: Readonly<Record<string, string>>;
  readonly hubRules?: NonNullable<StackOptions["hubRules"]>;
  readonly acrTasks?: NonNullable<StackOptions["acrTasks"]>;
}

const FILES = 40;

/** Starts a stack in a temporary folder. */
export async function createStackFixture(options: FixtureOptions = {}): Promise<StackFixture> {
  const folder = mkdtempSync(join(tmpdir(), "lighter-stack-"));
  const stack = await createStack({
    folder,
    timeScale: options.timeScale ?? 1_200,
    hub: { unlimited: true, ...options.hub },
    ...(options.app === undefined ? {} : { app: options.app }),
    ...(options.settings === undefined ? {} : { settings: options.settings }),
    ...(options.hubRules === undefined ? {} : { hubRules: options.hubRules }),
    ...(options.acrTasks === undefined ? {} : { acrTasks: options.acrTasks }),
    products: (registry) => [
      {
        name: "detector",
        registry,
        repository: REPOSITORY,
        module: { name: "detector" },
        rollout: { hubs: [HUB_NAME], gate: GATE, ...options.rollout },
        ...options.product,
      },
      ...Object.entries(options.products ?? {}).map(([name, rollout]) => ({
        name,
        registry,
        repository: `team/${name}`,
        module: { name },
        rollout: { hubs: [HUB_NAME], gate: GATE, ...rollout },
      })),
    ],
  });
  const fleets: AccountedFleet[] = [];
  const layer = (name: string, entries: readonly LayerEntry[]): ReturnType<typeof writeLayer> =>
    writeLayer(join(folder, `${name}.tar.gz`), entries, { level: 6 });

  let base: ReturnType<typeof writeLayer> | undefined;

  async function layersOf(image: string): Promise<{ digest: string; size: number }[]> {
    const [, repository = "", digest = ""] = /^[^/]+\/([^:@]+)(?::[^@]+)?@(.+)$/.exec(image) ?? [];
    const response = await fetch(`${stack.registry.url}/v2/${repository}/manifests/${digest}`, {
      headers: {
        accept: "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json",
      },
    });
    if (!response.ok) throw new Error(`manifest of ${image}: ${response.status}`);
    const bytes = await response.arrayBuffer();
    const manifest = JSON.parse(Buffer.from(bytes).toString()) as {
      config: { digest: string; size: number };
      layers: { digest: string; size: number }[];
    };
    return [{ digest, size: bytes.byteLength }, manifest.config, ...manifest.layers];
  }

  const fixture: StackFixture = {
    stack,
    folder,
    async build(version, change = (entries) => entries) {
      const mtime = 1_700_000_000 + version * 86_400;
      // One file for all versions, written once: tests that run side by side push it at the same time.
      base ??= layer("base", [
        { type: "directory", path: "etc", mode: 0o755, mtime: 1 },
        { type: "file", path: "etc/os-release", mode: 0o644, mtime: 1, content: Buffer.from("ID=test\n") },
      ]);
      const model = await layer(
        `model-${version}`,
        change([
          { type: "directory", path: "model", mode: 0o755, mtime },
          {
            type: "file",
            path: "model/model.pkl",
            mode: 0o644,
            mtime,
            content: Buffer.from(`model ${version}`.repeat(99)),
          },
        ]),
      );
      const dependencies = await layer(`conda-${version}`, [
        { type: "directory", path: "conda", mode: 0o755, mtime },
        ...Array.from({ length: FILES }, (_file, index): LayerEntry => {
          const content = createSeededBytes(1, `lib-${index}`, 2_000);
          return { type: "file", path: `conda/lib-${index}.so`, mode: 0o644, mtime, content };
        }),
      ]);
      return assembleImage({
        created: new Date(mtime * 1_000).toISOString(),
        config: { Env: [`VERSION=${version}`], Cmd: ["/model/run"] },
        layers: [
          { layer: await base, createdBy: "base" },
          { layer: model, createdBy: "model" },
          { layer: dependencies, createdBy: "conda" },
        ],
      });
    },
    async push(image, tag, repository = REPOSITORY) {
      await pushImage(image, { registryUrl: stack.registry.url, repository, tag });
    },
    addFleet(count, behaviour, more = {}) {
      const fleet = createAccountedFleet({
        gateway: stack.hub.devices,
        clock: stack.clock,
        seed: 11,
        count,
        layersOf,
        ...(behaviour === undefined ? {} : { behaviour }),
        ...more,
      });
      fleets.push(fleet);
      return fleet;
    },
    async releases() {
      const { body } = await stack.call("GET", "releases?limit=100");
      return (body as { releases: ReleaseView[] }).releases;
    },
    async until(what, look, seconds = 60) {
      const deadline = Date.now() + seconds * 1_000;
      for (;;) {
        const found = await look();
        if (found !== undefined) return found;
        if (Date.now() > deadline) throw new Error(`waited ${seconds} s for ${what}`);
        await delay(50);
      }
    },
    async finished(tag, seconds = 60) {
      let last: ReleaseView | undefined;
      try {
        return await fixture.until(
          `the release of ${tag}`,
          async () => {
            last = (await fixture.releases()).find((release) => release.tag === tag);
            return last?.finishedAt === undefined ? undefined : last;
          },
          seconds,
        );
      } catch (error) {
        throw new Error(`${String(error)}; last seen: ${JSON.stringify(last)?.slice(0, 2_000)}`, { cause: error });
      }
    },
    async close() {
      for (const fleet of fleets) fleet.close();
      await stack.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return fixture;
}
