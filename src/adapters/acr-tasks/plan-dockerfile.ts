// Plans the Dockerfile that copies a delta's contents from the candidate, or says why COPY cannot.
import { isUtf8 } from "node:buffer";
import type { DeltaFile } from "../../core/image/delta-entries.ts";
import { displayPath, parentOf } from "../../core/image/entry-path.ts";
import type { FilePlan } from "../../core/image/plan-rebase.ts";
import { formatReference, parseReference } from "../../core/image/reference.ts";

/** What a Dockerfile is planned from. */
export interface DockerfileInput {
  /** References with digests. */
  readonly anchor: string;
  readonly candidate: string;
  readonly plan: Pick<FilePlan, "delta" | "contentBytes">;
}

/**
 * A Dockerfile: its stage `delta` holds the contents and nothing else; its last stage is the classic recipe, the
 * contents in one layer on the anchor.
 */
export type DockerfilePlan =
  | { readonly kind: "dockerfile"; readonly text: string; readonly target: typeof DELTA_STAGE }
  /** There is nothing to copy: whatever the delta has is written without contents. */
  | { readonly kind: "needless"; readonly reason: string }
  | { readonly kind: "unsuitable"; readonly reason: string };

/** The stage that is built for a sealed image. */
const DELTA_STAGE = "delta";

/** Each COPY of a stage is a layer, of which an image has at most 127 (docker's and containerd's limit). */
const MAX_COPIES = 100;
/** BuildKit reads lines of at most 65,535 bytes. */
const MAX_LINE_BYTES = 60_000;
/** What is copied passes through memory when the image is sealed. */
const MAX_CONTENT_BYTES = 128 * 1024 * 1024;

/**
 * What a path may have, beside `/`. Left out: quotes, backslashes, `$` and backticks, which builders expand in JSON form
 * too, each in its own way; `[`, which some builders read as a pattern again after it was taken for itself; `<` and `>`,
 * which begin here-documents; control characters, line ends among them.
 */
const PATH = /^[\p{L}\p{M}\p{N} _.,:;=@%+~^!#&|(){}\]*?/-]+$/u;
/** Blanks at the ends of a name are not worth finding out about. */
const ODD_BLANKS = /(?:^|\/) | (?:\/|$)/;
const GLOB = /[*?]/g;

/**
 * Plans the Dockerfile for a delta.
 *
 * Only contents are copied. Types, modes, numeric owners, times, links, xattrs, devices, empty files, directories and
 * whiteouts are beyond COPY or unreliable with it; all of them are known to the plan and written when the image is sealed.
 * What is left that COPY cannot do is carry contents from paths that a Dockerfile cannot name, from more directories than
 * an image has layers, or more than fits in memory.
 *
 * No text gets into it but checked references and paths of the allowed characters within JSON strings, so no input can
 * add an instruction.
 */
export function planDockerfile({ anchor, candidate, plan }: DockerfileInput): DockerfilePlan {
  const files = plan.delta.files.filter(({ entry }) => entry.size > 0);
  if (files.length === 0) return { kind: "needless", reason: "no content to be copied, only entries to be written" };
  if (plan.contentBytes > MAX_CONTENT_BYTES)
    return unsuitable(`${plan.contentBytes} bytes of content; a sealed build takes at most ${MAX_CONTENT_BYTES}`);
  const odd = files.find(({ path }) => !isNameable(path));
  if (odd !== undefined) return unsuitable(`COPY cannot name ${JSON.stringify(displayPath(odd.path))}`);
  const copies = groupByDirectory(files).flatMap(([directory, paths]) => writeCopies(directory, paths));
  if (copies.length > MAX_COPIES)
    return unsuitable(`${copies.length} COPY instructions for as many directories; at most ${MAX_COPIES} fit an image`);
  const text = [
    `FROM ${checked(candidate)} AS candidate`,
    "FROM scratch AS files",
    ...copies,
    `FROM scratch AS ${DELTA_STAGE}`,
    copy("files", ["/"], "/"),
    `FROM ${checked(anchor)}`,
    copy(DELTA_STAGE, ["/"], "/"),
    "",
  ].join("\n");
  return { kind: "dockerfile", text, target: DELTA_STAGE };
}

function unsuitable(reason: string): DockerfilePlan {
  return { kind: "unsuitable", reason };
}

/** A reference as the grammar of references writes it, whatever was given. */
function checked(reference: string): string {
  return formatReference(parseReference(reference));
}

/** Whether a path (a byte string) is UTF-8 of allowed characters only. */
function isNameable(path: string): boolean {
  const text = displayPath(path);
  return isUtf8(Buffer.from(path, "latin1")) && PATH.test(text) && !ODD_BLANKS.test(text);
}

function groupByDirectory(files: readonly DeltaFile[]): [string, string[]][] {
  const paths = files.map(({ path }) => displayPath(path)).sort();
  return [...Map.groupBy(paths, parentOf)];
}

/** One COPY of all files of a directory, or several if the line gets too long. */
function writeCopies(directory: string, paths: readonly string[]): string[] {
  const destination = directory === "" ? "/" : `/${directory}/`;
  const lines: string[] = [];
  let sources: string[] = [];
  let bytes = 0;
  for (const path of paths) {
    const source = `/${escapeGlob(path)}`;
    const length = Buffer.byteLength(JSON.stringify(source)) + 1;
    if (sources.length > 0 && bytes + length > MAX_LINE_BYTES) {
      lines.push(copy("candidate", sources, destination));
      sources = [];
      bytes = 0;
    }
    sources.push(source);
    bytes += length;
  }
  return [...lines, copy("candidate", sources, destination)];
}

/** Sources are patterns (Go's filepath.Match), in which a class of one character stands for itself. */
function escapeGlob(path: string): string {
  return path.replaceAll(GLOB, (character) => `[${character}]`);
}

function copy(stage: string, sources: readonly string[], destination: string): string {
  return `COPY --from=${stage} ${JSON.stringify([...sources, destination])}`;
}
