// The runner `build`: a quick build of a generated Dockerfile, sealed by us into an exact image.
import { createHash } from "node:crypto";
import type { Digest } from "../../core/image/descriptor.ts";
import { isDigest } from "../../core/image/digest.ts";
import { parsePlatform } from "../../core/image/platform.ts";
import { formatReference, parseReference } from "../../core/image/reference.ts";
import type { RunHandle } from "../../ports/rebase-runs.ts";
import { buildDelta } from "../direct-engine/build-delta.ts";
import { loadPair, planPair, type ComparisonRules, type PlannedPair } from "../direct-engine/compare-images.ts";
import { createLayerReader, type LayerReader } from "../direct-engine/layer-reader.ts";
import { loadImage } from "../direct-engine/load-image.ts";
import { openTarget, publishRebase } from "../direct-engine/publish-rebase.ts";
import { packContext } from "./context.ts";
import { planDockerfile } from "./plan-dockerfile.ts";
import { readContents } from "./read-contents.ts";
import type { OutputImage } from "./run.ts";
import { commonFields } from "./run-request.ts";
import { pinned, type Runner, type RunnerTools } from "./runner.ts";

/** What this runner needs besides. */
export interface BuildRunnerOptions extends RunnerTools {
  /** The repository for what builds push before it is sealed; no product's, since pushes there mean nothing. */
  readonly buildRepository: string;
  readonly choice: ComparisonRules;
}

const DOCKERFILE = "Dockerfile";

/**
 * Creates the runner.
 *
 * The build brings the contents only. Sealing writes the delta layer, whiteouts, metadata, config and manifest from the
 * plan, so that the image is byte for byte what the engine `direct` makes.
 */
export function createBuildRunner(options: BuildRunnerOptions): Runner {
  const { client, registries, settings, choice, buildRepository } = options;
  const newReader = (): LayerReader => createLayerReader(options.cache === undefined ? {} : { cache: options.cache });

  return {
    async start({ pair, images }) {
      const planned = await planPair(pair, newReader(), choice);
      const dockerfile = planDockerfile({
        anchor: pinned(images.anchor),
        candidate: pinned(images.candidate),
        plan: planned.plan,
      });
      if (dockerfile.kind !== "dockerfile") return dockerfile;
      const context = packContext([{ path: DOCKERFILE, content: Buffer.from(dockerfile.text) }]);
      const run = await client.scheduleRun({
        type: "DockerBuildRequest",
        ...commonFields(settings),
        sourceLocation: await client.uploadContext(context),
        dockerFilePath: DOCKERFILE,
        imageNames: [`${buildRepository}:${buildTag(images)}`],
        isPushEnabled: true,
        noCache: true,
        target: dockerfile.target,
      });
      return { kind: "run", handle: { runner: "build", runId: run.properties.runId, ...images } };
    },

    async collect(handle) {
      const { anchor, candidate, target, platform } = handle;
      const images = { anchor: pinned(anchor), candidate: pinned(candidate), target };
      const pair = await loadPair(registries, images, platform === undefined ? undefined : parsePlatform(platform));
      const reader = newReader();
      const planned = await planPair(pair, reader, choice);
      const { registry } = parseReference(candidate.reference);
      const tag = buildTag(handle);
      const { outputImages } = (await client.getRun(handle.runId)).properties;
      const digest = digestOfOutput(outputImages ?? [], buildRepository, tag);
      const name = { registry, repository: buildRepository, tag };
      const built = await loadImage(registries, formatReference(digest === undefined ? name : { ...name, digest }));
      const contents = await readContents(built, planned.plan.delta.files, reader);
      const withContents: PlannedPair = { ...planned, kept: { ...planned.kept, get: (entry) => contents.get(entry) } };
      const deltas = [await buildDelta(withContents, reader)];
      const summary = await publishRebase(planned, deltas, openTarget(images, registries), {
        registries,
        reader,
        choice,
      });
      return { ...summary, anchor, candidate };
    },
  };
}

/** The tag of what is built for a pair: the same pair, the same tag. */
function buildTag({ anchor, candidate }: Pick<RunHandle, "anchor" | "candidate">): string {
  return createHash("sha256").update(`${anchor.digest} ${candidate.digest}`).digest("hex").slice(0, 24);
}

/** The digest that the service says this run pushed; the contents behind it are checked all the same. */
function digestOfOutput(images: readonly OutputImage[], repository: string, tag: string): Digest | undefined {
  const { digest } = images.find((image) => image.repository === repository && image.tag === tag) ?? {};
  return typeof digest === "string" && isDigest(digest) ? digest : undefined;
}
