// The activities that turn a candidate into the image that will be deployed.
import { formatReference, parseReference } from "../core/image/reference.ts";
import { parseManifest } from "../core/image/manifest.ts";
import { parsePlatform, pickPlatform } from "../core/image/platform.ts";
import { isLighterError, LighterError } from "../core/errors.ts";
import { isFinal, type ReleaseRecord, type ReleaseState } from "../core/release/record.ts";
import type { Product } from "../core/config.ts";
import { unsettledSlots } from "../core/rollout/ledger.ts";
import { mayLag } from "../core/release/intake.ts";
import { findAnswer } from "../core/release/commands.ts";
import { decideRun } from "../core/release/rebase-run.ts";
import { judgePlan, type PlanVerdict } from "../core/release/plan-verdict.ts";
import type { LayerTask, RebaseRequest, RebaseSummary, Verification } from "../ports/rebase-engine.ts";
import type { RunHandle } from "../ports/rebase-runs.ts";
import { listDocuments } from "./documents.ts";
import type { Look } from "./hub-book.ts";
import type { ActivityPorts } from "./ports.ts";
import type { ReleaseBook, ReleaseStep, Standing } from "./release-book.ts";

/** What the orchestration of a release has to know to begin; `proceed: false` means that it is over already. */
type Beginning =
  | { readonly proceed: false }
  | {
      readonly proceed: true;
      readonly product: string;
      readonly hubs: readonly string[];
      readonly rings: readonly string[];
      /** The image the fleet holds; absent when it holds none that is known. */
      readonly anchor?: string;
      /** Where the rebase is done; here unless said otherwise. */
      readonly engine?: "acr-tasks";
    };

/** The layers that planning needs indexes of; none when there is nothing to compare with. */
interface Comparison {
  readonly layers: readonly LayerTask[];
}

/** What will be deployed, or why there is nothing to deploy. */
export type Preparation =
  | { readonly kind: "deploy"; readonly image: string; readonly rebased: boolean }
  | { readonly kind: "nothing"; readonly reason: string };

/** A plan's outcome, and what stands in its way. */
interface Planned extends PlanVerdict {
  readonly outcome: string;
}

/** How a held release went on. */
export interface Answer {
  readonly kind: "approved" | "rejected" | "superseded" | "aborted";
  readonly reason: string;
}

/** A run that is being watched; `attempt` counts from 1. */
interface RunWatch {
  readonly handle: RunHandle;
  readonly attempt: number;
}

/** What came of a run: an image, a reason to do it here after all, or the end. */
export type RunOutcome =
  | { readonly kind: "prepared"; readonly prepared: Preparation }
  | { readonly kind: "fall-back" | "failed" | "superseded" | "aborted"; readonly reason: string };

/** Between two looks at a run. */
const RUN_WAIT_MS = 15_000;

/** How often a held release looks by itself; an answer wakes it. */
const HOLD_WAIT_MS = 600_000;

/** The activities before the rollout. */
export interface PreparationActivities {
  beginRelease(step: ReleaseStep): Promise<Beginning>;
  checkStanding(step: ReleaseStep): Promise<Standing>;
  compareImages(step: ReleaseStep & { readonly anchor: string }): Promise<Comparison>;
  indexLayer(task: LayerTask): Promise<{ readonly entries: number; readonly cached: boolean }>;
  planRelease(step: ReleaseStep & { readonly anchor: string }): Promise<Planned>;
  watchHold(step: ReleaseStep & { readonly reason: string }): Promise<Look<null, Answer>>;
  rebaseImage(step: ReleaseStep & { readonly anchor: string }): Promise<Preparation>;
  watchRun(
    step: ReleaseStep & { readonly anchor: string; readonly state?: RunWatch },
  ): Promise<Look<RunWatch, RunOutcome>>;
  verifyImage(step: ReleaseStep & { readonly anchor: string; readonly image: string }): Promise<void>;
  takeWholeImage(step: ReleaseStep & { readonly reason: string }): Promise<Preparation>;
  finishRelease(step: ReleaseStep & { readonly state: ReleaseState; readonly reason: string }): Promise<ReleaseState>;
}

/** Creates the activities before the rollout, and the one that ends a release. */
export function createPreparationActivities(ports: ActivityPorts, book: ReleaseBook): PreparationActivities {
  const { stores, registries, engine } = ports;

  const candidateOf = (record: ReleaseRecord): string =>
    formatReference({
      registry: record.registry,
      repository: record.repository,
      tag: record.tag,
      digest: record.digest,
    });

  /** Reads what was pushed then; while replicas may lag, that it is not there is worth trying again. */
  async function readPushed<T>(pushedAt: string, { now }: ReleaseStep, read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      const missing = ["MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "NAME_UNKNOWN"].some((code) => isLighterError(error, code));
      if (!missing || !mayLag(pushedAt, now)) throw error;
      throw new LighterError("NOT_VISIBLE_YET", {
        operation: "read what was pushed",
        subject: `at ${pushedAt}`,
        got: (error as Error).message,
        want: "a registry whose replicas all have it",
        retryable: true,
        cause: error,
      });
    }
  }

  /** What is asked of whichever engine does the work. */
  function requestOf(record: ReleaseRecord, anchor: string): Required<RebaseRequest> {
    const { platform, targetTagPrefix } = book.product(record);
    const { registry, repository, tag } = record;
    const target = formatReference({ registry, repository, tag: `${targetTagPrefix}${tag}` });
    return { anchor, candidate: candidateOf(record), target, platform };
  }

  /** Records what a rebase came to as what will be deployed. */
  async function adopt(
    step: ReleaseStep,
    record: ReleaseRecord,
    { anchor, candidate, target }: Required<RebaseRequest>,
    result: RebaseSummary,
  ): Promise<Preparation> {
    const product = book.product(record);
    if (result.outcome === "nothing") {
      if (!(await isUnsettled(product))) return { kind: "nothing", reason: result.reason };
      const reason = `${result.reason}; devices that an earlier release reached go back to it`;
      const { layers } = await weighImage(anchor, product.platform);
      const digest = parseReference(anchor).digest ?? record.digest;
      await book.update(step, {
        finishStep: "rebase",
        image: { reference: anchor, digest, mode: "rebased", reason, verified: "exact", layers },
        sizes: { fullBytes: result.bytes.full, updateBytes: 0, deltaLayerBytes: 0 },
      });
      return { kind: "deploy", image: anchor, rebased: true };
    }
    requireExact(result.verified, target, record);
    const deltaLayerBytes = result.layers.reduce((sum, { size }) => sum + size, 0);
    const rebased = result.outcome === "rebase";
    const reference = formatReference({
      ...parseReference(rebased ? target : candidate),
      digest: result.result.digest,
    });
    // What this very step pushes may lag as well, however old the candidate is.
    const { layers } = await readPushed(step.now, step, () => weighImage(reference, product.platform));
    await book.update(step, {
      finishStep: "rebase",
      image: {
        reference,
        digest: result.result.digest,
        mode: rebased ? "rebased" : "full",
        reason: result.reason,
        verified: rebased ? "exact" : "not-needed",
        layers,
      },
      sizes: { fullBytes: result.bytes.full, updateBytes: result.bytes.delta, deltaLayerBytes },
    });
    return { kind: "deploy", image: reference, rebased };
  }

  function requireExact(verified: Verification, image: string, record: ReleaseRecord): void {
    if (verified === "exact") return;
    throw new LighterError("NOT_EXACT", {
      operation: "verify",
      subject: image,
      got: verified.slice(0, 5).join("; "),
      want: `the same content as ${candidateOf(record)}`,
    });
  }

  /** Whether devices of any hub may run something other than the anchor. */
  async function isUnsettled({ name, rollout }: Product): Promise<boolean> {
    const ledgers = await Promise.all(rollout.hubs.map((hub) => stores.ledgers.get(name, hub)));
    return ledgers.some((ledger) => ledger !== undefined && unsettledSlots(ledger.value).length > 0);
  }

  /** What a device without any of its layers downloads for an image. */
  async function weighImage(reference: string, platform: string): Promise<{ bytes: number; layers: number }> {
    const { registry, repository, tag, digest } = parseReference(reference);
    const opened = registries.open(registry, repository);
    let raw = await opened.getManifest(digest ?? tag ?? "latest");
    let manifest = parseManifest(raw.bytes, raw.mediaType, reference);
    let bytes = raw.bytes.length;
    if (manifest.kind === "index") {
      const picked = pickPlatform(manifest.manifests, parsePlatform(platform), reference);
      raw = await opened.getManifest(picked.digest);
      manifest = parseManifest(raw.bytes, raw.mediaType, reference);
      bytes += raw.bytes.length;
    }
    if (manifest.kind === "index") {
      throw new LighterError("INDEX_NESTED", {
        operation: "weigh image",
        subject: reference,
        got: "an index in an index",
      });
    }
    const blobs = [manifest.config, ...manifest.layers];
    return { bytes: bytes + blobs.reduce((sum, { size }) => sum + size, 0), layers: manifest.layers.length };
  }

  return {
    async beginRelease(step) {
      const record = await book.read(step.releaseId);
      if (isFinal(record.state)) return { proceed: false };
      const product = book.product(record);
      const ledgers = await Promise.all(
        product.rollout.hubs.map(async (hub) => ({
          hub,
          ledger: (await stores.ledgers.get(product.name, hub))?.value,
        })),
      );
      const unknown = ledgers.filter(({ ledger }) => ledger?.baseline === undefined).map(({ hub }) => hub);
      if (unknown.length > 0) {
        const reason = `no previous content of ${product.name} is known on ${unknown.join(", ")}; capture it with: lighter baseline ${product.name}`;
        await book.update(step, { state: "refused", reason });
        return { proceed: false };
      }
      const held = ledgers[0]?.ledger;
      const layers = held?.anchor === undefined ? 0 : (await weighImage(held.anchor, product.platform)).layers;
      const anchor = layers >= product.maxLayers ? held?.firstAnchor : held?.anchor;
      await book.update(step, {
        state: "preparing",
        startStep: "prepare",
        ...(anchor === undefined ? {} : { anchor }),
      });
      return {
        proceed: true,
        product: product.name,
        hubs: product.rollout.hubs,
        rings: product.rollout.rings.map(({ name }) => name),
        ...(anchor === undefined ? {} : { anchor }),
        ...(product.engine.kind === "direct" ? {} : { engine: product.engine.kind }),
      };
    },

    checkStanding: (step) => book.standing(step),

    async compareImages({ anchor, ...step }) {
      const record = await book.update(step, { startStep: "index" });
      const { platform } = book.product(record);
      const { layers } = await readPushed(record.pushedAt, step, () =>
        engine.compareImages({ anchor, candidate: candidateOf(record), platform }),
      );
      return { layers };
    },

    async indexLayer(task) {
      const { entries, cached } = await engine.indexLayer(task);
      return { entries, cached };
    },

    async planRelease({ anchor, ...step }) {
      const record = await book.update(step, { finishStep: "index", startStep: "plan" });
      const { platform } = book.product(record);
      const plan = await readPushed(record.pushedAt, step, () =>
        engine.plan({ anchor, candidate: candidateOf(record), platform }),
      );
      const { outcome, reason, sharedLayers, files, drift, config } = plan;
      await book.update(step, {
        finishStep: "plan",
        plan: { outcome, reason, sharedLayers, files, drift, config },
        sizes: { fullBytes: plan.bytes.full, updateBytes: plan.bytes.delta, deltaLayerBytes: 0 },
      });
      return { outcome, ...judgePlan(book.product(record), plan) };
    },

    async watchHold({ reason, ...step }) {
      const standing = await book.standing(step);
      if (standing.kind !== "current") {
        const kind = standing.kind === "superseded" ? "superseded" : "aborted";
        return { kind: "done", outcome: { kind, reason: standing.reason } };
      }
      const answer = findAnswer(await listDocuments(stores.commands, step.releaseId));
      if (answer === undefined) {
        await book.update(step, { state: "held", reason: `${reason}; approve or reject it`, startStep: "approval" });
        return { kind: "wait", state: null, waitMs: HOLD_WAIT_MS };
      }
      const said = `${answer.kind === "approve" ? "approved" : "rejected"} at ${answer.at}`;
      const outcome = { reason: answer.reason === undefined ? said : `${said}: ${answer.reason}` };
      if (answer.kind !== "approve") return { kind: "done", outcome: { kind: "rejected", ...outcome } };
      await book.update(step, { state: "preparing", finishStep: "approval", ...outcome });
      return { kind: "done", outcome: { kind: "approved", ...outcome } };
    },

    async rebaseImage({ anchor, ...step }) {
      const record = await book.update(step, { startStep: "rebase" });
      const request = requestOf(record, anchor);
      const result = await readPushed(step.now, step, () => engine.rebase(request));
      return adopt(step, record, request, result);
    },

    async watchRun({ anchor, state, ...step }) {
      const record = await book.update(step, { startStep: "rebase" });
      const rules = book.product(record).engine;
      if (rules.kind !== "acr-tasks")
        return { kind: "done", outcome: { kind: "fall-back", reason: "no run configured" } };
      const runs = ports.runs(rules);
      const request = requestOf(record, anchor);
      /** What cannot be done there, and would not be by trying again, is done here where the product allows it. */
      const giveUp = (error: unknown): Extract<Look<RunWatch, RunOutcome>, { kind: "done" }> => {
        if (!isLighterError(error) || error.retryable) throw error;
        const kind = rules.runs.fallback === "direct" ? "fall-back" : "failed";
        return { kind: "done", outcome: { kind, reason: error.message } };
      };
      const start = async (attempt: number): Promise<Look<RunWatch, RunOutcome>> => {
        const started = await runs.start(request).catch(giveUp);
        if (started.kind === "done") return started;
        if (started.kind !== "run") return { kind: "done", outcome: { kind: "fall-back", reason: started.reason } };
        const { handle } = started;
        await book.update(step, { run: { run: handle.runId, attempt, state: "started", waitsFor: "an agent" } });
        return { kind: "wait", state: { handle, attempt }, waitMs: RUN_WAIT_MS };
      };

      const standing = await book.standing(step);
      if (standing.kind !== "current") {
        if (state !== undefined) await runs.cancel(state.handle);
        const kind = standing.kind === "superseded" ? "superseded" : "aborted";
        return { kind: "done", outcome: { kind, reason: standing.reason } };
      }
      if (state === undefined) return start(1);

      const { handle, attempt } = state;
      const seen = await runs.look(handle);
      const decision = decideRun({ state: seen, attempt, now: step.now, rules: rules.runs });
      const log = seen.state === "pending" ? undefined : seen.log;
      await book.update(step, {
        run: {
          run: log?.run ?? handle.runId,
          attempt,
          state: seen.state === "pending" ? seen.status : seen.state,
          ...(log === undefined ? {} : { logTail: log.tail }),
          ...(decision.act === "wait" ? { waitsFor: decision.reason } : {}),
        },
      });
      if ("cancel" in decision && decision.cancel) await runs.cancel(handle);
      if (decision.act === "wait") return { kind: "wait", state, waitMs: RUN_WAIT_MS };
      if (decision.act === "start-again") return start(attempt + 1);
      if (decision.act === "collect") {
        const result = await readPushed(step.now, step, () => runs.collect(handle)).catch(giveUp);
        if ("kind" in result) return result;
        return { kind: "done", outcome: { kind: "prepared", prepared: await adopt(step, record, request, result) } };
      }
      const kind = decision.act === "fall-back" ? "fall-back" : "failed";
      return { kind: "done", outcome: { kind, reason: decision.reason } };
    },

    async verifyImage({ anchor, image, ...step }) {
      const record = await book.update(step, { startStep: "verify" });
      const { platform } = book.product(record);
      const { verified } = await readPushed(step.now, step, () =>
        engine.verify({ result: image, candidate: candidateOf(record), anchor, platform }),
      );
      requireExact(verified, image, record);
      await book.update(step, { finishStep: "verify" });
    },

    async takeWholeImage({ reason, ...step }) {
      const record = await book.read(step.releaseId);
      const { platform } = book.product(record);
      const reference = candidateOf(record);
      // Compared with itself it must at least be an image of the product's platform: nothing else may reach devices.
      await readPushed(record.pushedAt, step, () =>
        engine.compareImages({ anchor: reference, candidate: reference, platform }),
      );
      const { bytes, layers } = await weighImage(reference, platform);
      // Where a plan was made, devices hold the layers that it found shared.
      const fullBytes = record.sizes?.fullBytes ?? bytes;
      await book.update(step, {
        image: { reference, digest: record.digest, mode: "full", reason, verified: "not-needed", layers },
        sizes: { fullBytes, updateBytes: fullBytes, deltaLayerBytes: 0 },
      });
      return { kind: "deploy", image: reference, rebased: false };
    },

    async finishRelease({ state, reason, ...step }) {
      return (await book.update(step, { state, reason })).state;
    },
  };
}
