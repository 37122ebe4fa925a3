// Parses what registries post to Lighter's hooks: ACR native webhooks and Docker distribution notifications.
import { z } from "zod";
import type { Digest } from "../image/descriptor.ts";
import { LighterError } from "../errors.ts";
import type { TriggerEvent } from "./trigger-event.ts";

const digest = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$|^sha512:[0-9a-f]{128}$/)
  .transform((text) => text as Digest);
const repository = z.string().min(1).max(255);
const tag = z.string().min(1).max(128);

/** The media types of manifests and indexes; pushes of anything else (blobs) are no images. */
const MANIFEST_MEDIA_TYPE =
  /^application\/vnd\.(docker\.distribution\.manifest(\.list)?\.v2|oci\.image\.(manifest|index)\.v1)\+json$/;

const timestamp = z
  .string()
  .refine((text) => !Number.isNaN(Date.parse(text)), "a timestamp")
  .transform((text) => new Date(text).toISOString());

const acrWebhookSchema = z.object({
  id: z.string(),
  timestamp: timestamp.optional(),
  action: z.string(),
  target: z
    .object({
      mediaType: z.string().optional(),
      digest: digest.optional(),
      repository: repository.optional(),
      tag: tag.optional(),
    })
    .optional(),
  request: z.object({ host: z.string().optional() }).optional(),
});

const distributionSchema = z.object({
  events: z.array(
    z.object({
      id: z.string(),
      timestamp: timestamp.optional(),
      action: z.string(),
      target: z.object({
        mediaType: z.string().optional(),
        digest: digest.optional(),
        repository: repository.optional(),
        tag: tag.optional(),
      }),
      request: z.object({ host: z.string().optional() }).optional(),
    }),
  ),
});

/** What a hook call comes to: events to act on, and how many entries were none (pings, deletes, blobs). */
export interface ParsedHook {
  readonly events: readonly TriggerEvent[];
  readonly skipped: number;
}

/** A hook's body that is not what its source sends. */
export class HookError extends LighterError<"HOOK_MALFORMED"> {
  override readonly name = "HookError";
}

function parseWith<T>(schema: z.ZodType<T>, subject: string, body: unknown): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => `${issue.path.join(".") || "(root)"}: ${issue.message}`);
  throw new HookError("HOOK_MALFORMED", { operation: "parse", subject, got: problems.slice(0, 5).join("; ") });
}

interface Entry {
  readonly id: string;
  readonly timestamp?: string | undefined;
  readonly action: string;
  readonly target?:
    | {
        readonly mediaType?: string | undefined;
        readonly digest?: Digest | undefined;
        readonly repository?: string | undefined;
        readonly tag?: string | undefined;
      }
    | undefined;
  readonly request?: { readonly host?: string | undefined } | undefined;
}

function toEvent(source: TriggerEvent["source"], entry: Entry): TriggerEvent | undefined {
  const { target } = entry;
  if (entry.action !== "push" || target?.repository === undefined || target.digest === undefined) return undefined;
  if (target.mediaType !== undefined && !MANIFEST_MEDIA_TYPE.test(target.mediaType)) return undefined;
  return {
    source,
    eventId: entry.id,
    repository: target.repository,
    digest: target.digest,
    ...(target.tag === undefined ? {} : { tag: target.tag }),
    ...(entry.timestamp === undefined ? {} : { pushedAt: entry.timestamp }),
    ...(entry.request?.host === undefined ? {} : { registry: entry.request.host }),
  };
}

function collect(source: TriggerEvent["source"], entries: readonly Entry[]): ParsedHook {
  const events = entries.map((entry) => toEvent(source, entry)).filter((event) => event !== undefined);
  return { events, skipped: entries.length - events.length };
}

/**
 * Parses the body of an ACR native webhook (a single object; a ping has no target).
 * @throws HookError HOOK_MALFORMED
 */
export function parseAcrWebhook(body: unknown): ParsedHook {
  return collect("acr-webhook", [parseWith(acrWebhookSchema, "ACR webhook", body)]);
}

/**
 * Parses a Docker distribution notification envelope; blob pushes and other actions are skipped.
 * @throws HookError HOOK_MALFORMED
 */
export function parseDistributionNotification(body: unknown): ParsedHook {
  return collect("distribution", parseWith(distributionSchema, "distribution notification", body).events);
}
