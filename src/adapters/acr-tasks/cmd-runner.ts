// The runner `cmd`: a task whose one step is `lighter rebase` in Lighter's own image, beside the registry.
import { z } from "zod";
import type { Digest } from "../../core/image/descriptor.ts";
import { isDigest } from "../../core/image/digest.ts";
import { formatReference, parseReference } from "../../core/image/reference.ts";
import type { RebaseSummary } from "../../ports/rebase-engine.ts";
import type { RunHandle } from "../../ports/rebase-runs.ts";
import { loadImage, type LoadedImage } from "../direct-engine/load-image.ts";
import { tryReadLog } from "./log.ts";
import { commonFields, timeoutOf, type RunRequest } from "./run-request.ts";
import { pinned, type PinnedRequest, type Runner, type RunnerTools } from "./runner.ts";
import { encodeTask, rebaseWords, TASK_VALUES, taskValue } from "./task-yaml.ts";

/** What this runner needs besides. */
export interface CmdRunnerOptions extends RunnerTools {
  /** Lighter's image: a reference, or a repository with a tag in the candidate's registry. */
  readonly image: string;
  /** A pre-created task to be run instead of one that is sent along, as network-restricted registries want it. */
  readonly task?: string;
}

/** The JSON line is looked for in this much of the end of a log. */
const MAX_LINE_BYTES = 512 * 1024;

/** Of what `lighter rebase --json` prints the one thing that the registry does not tell: which image is this run's. */
const lineSchema = z.object({
  anchor: z.object({ digest: z.string() }),
  candidate: z.object({ digest: z.string() }),
  result: z.object({ digest: z.custom<Digest>((value) => typeof value === "string" && isDigest(value)) }),
});

/** Creates the runner. */
export function createCmdRunner(options: CmdRunnerOptions): Runner {
  const { client, registries, engine, settings, task } = options;

  const requestOf = async ({ images }: PinnedRequest): Promise<RunRequest> => {
    const words = {
      image: imageOf(options.image, parseReference(images.candidate.reference).registry),
      anchor: pinned(images.anchor),
      candidate: pinned(images.candidate),
      target: images.target,
      platform: images.platform,
    };
    const common = commonFields(settings);
    if (task === undefined) {
      const encodedTaskContent = encodeTask(rebaseWords(words), timeoutOf(settings));
      return { type: "EncodedTaskRunRequest", ...common, encodedTaskContent };
    }
    const { isArchiveEnabled, agentPoolName } = common;
    const values = TASK_VALUES.map((name) => taskValue(name, words[name]));
    return {
      type: "TaskRunRequest",
      taskId: (await client.getTask(task)).id,
      isArchiveEnabled,
      ...(agentPoolName === undefined ? {} : { agentPoolName }),
      overrideTaskStepProperties: { values },
    };
  };

  /** The digest that the run says it pushed, if its log is there and speaks of these images. */
  const readClaim = async ({ runId, anchor, candidate }: RunHandle): Promise<Digest | undefined> => {
    const log = await tryReadLog(client, runId, -MAX_LINE_BYTES);
    const lines = (log?.text ?? "").split("\n").filter((line) => line.startsWith("{"));
    for (const line of lines.toReversed()) {
      const { success, data } = lineSchema.safeParse(tryParse(line));
      if (success && data.anchor.digest === anchor.digest && data.candidate.digest === candidate.digest)
        return data.result.digest;
    }
    return undefined;
  };

  /**
   * The result by the digest of its run, since another run may have moved the tag, and a replica's tag may lag; only where
   * there is no log by its tag.
   */
  const loadResult = async (handle: RunHandle): Promise<LoadedImage> => {
    const { registry, repository, tag = "" } = parseReference(handle.target);
    const digest = await readClaim(handle);
    const named = digest === undefined ? { tag } : { digest };
    return await loadImage(registries, formatReference({ registry, repository, ...named }));
  };

  return {
    async start(request) {
      const run = await client.scheduleRun(await requestOf(request));
      return { kind: "run", handle: { runner: "cmd", runId: run.properties.runId, ...request.images } };
    },

    async collect(handle): Promise<RebaseSummary> {
      const { anchor, candidate, target, platform } = handle;
      const images = {
        anchor: pinned(anchor),
        candidate: pinned(candidate),
        ...(platform === undefined ? {} : { platform }),
      };
      const plan = { ...(await engine.plan(images)), anchor, candidate };
      if (plan.outcome !== "rebase")
        return { ...plan, result: plan.outcome === "full" ? candidate : anchor, layers: [], verified: "exact" };
      const result = await loadResult(handle);
      const { verified } = await engine.verify({ ...images, result: formatReference(result.reference) });
      const below = await loadImage(registries, images.anchor);
      const { config, layers: all } = result.manifest;
      const layers = all.slice(below.manifest.layers.length).map(({ digest, size }) => ({ digest, size }));
      const delta = layers.reduce((sum, { size }) => sum + size, config.size + result.manifestBytes);
      return {
        ...plan,
        bytes: { full: plan.bytes.full, delta, estimated: false },
        result: { reference: target, digest: result.digest },
        layers,
        verified,
      };
    },
  };
}

/** A reference without a host means the registry that is worked for. */
function imageOf(image: string, registry: string): string {
  const host = image.includes("/") ? (image.split("/")[0] ?? "") : "";
  const isWhole = /[.:]/.test(host) || host === "localhost";
  return formatReference(parseReference(isWhole ? image : `${registry}/${image}`));
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
