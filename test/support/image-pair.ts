// Builds an image and its successor the way Azure ML does, with GNU tar, gcc and hand-written OCI layouts.
import { createHash } from "node:crypto";
import { chmodSync, chownSync, linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { run } from "./run.ts";
import { seededBytes } from "./seeded-bytes.ts";

/** Two image layouts in one folder, to be copied as `oci:<folder>/layout:1` and `:2`. */
export interface ImagePair {
  readonly layout: string;
  /** Compressed size in bytes of the dependency layer, which differs between the two only in mtimes. */
  readonly dependencyBytes: number;
}

/** One entry of a layer; owners and times have defaults. */
interface Entry {
  readonly path: string;
  readonly content?: Uint8Array | string;
  readonly symlink?: string;
  readonly hardLink?: string;
  readonly mode?: number;
  readonly owner?: readonly [uid: number, gid: number];
}

interface Blob {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const DEPENDENCY_FILES = 300;
const DEPENDENCY_FILE_BYTES = 9_000;
const JANUARY = Date.parse("2026-01-05T08:00:00Z") / 1_000;
const MARCH = Date.parse("2026-03-09T17:30:00Z") / 1_000;

/** Prints what it was started with and what it finds: arguments, environment, user, folder and the model's bytes summed. */
const PROBE_SOURCE = `
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
extern char **environ;
int main(int count, char **words) {
  char folder[4096];
  unsigned long sum = 0;
  int byte;
  for (int i = 1; i < count; i++) printf("argument %s\\n", words[i]);
  for (char **each = environ; *each; each++) printf("environment %s\\n", *each);
  printf("user %d:%d in %s\\n", getuid(), getgid(), getcwd(folder, sizeof folder));
  FILE *model = fopen("/model/model.pkl", "rb");
  if (model == NULL) return 7;
  while ((byte = fgetc(model)) != EOF) sum = sum * 31 + byte;
  printf("model %lu\\n", sum);
  printf("obsolete file %s\\n", access("/model/obsolete.txt", F_OK) == 0 ? "there" : "gone");
  return 0;
}
`;

/** Builds the pair in `folder`; needs root, because the layers hold files of several owners. */
export async function buildImagePair(folder: string): Promise<ImagePair> {
  const layout = join(folder, "layout");
  mkdirSync(join(layout, "blobs/sha256"), { recursive: true });
  writeFileSync(join(folder, "probe.c"), PROBE_SOURCE);
  await run("gcc", ["-static", "-Os", "-s", "-o", join(folder, "probe"), join(folder, "probe.c")]);

  const store = (mediaType: string, bytes: Uint8Array): Blob => {
    const hex = createHash("sha256").update(bytes).digest("hex");
    writeFileSync(join(layout, "blobs/sha256", hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const storeJson = (mediaType: string, value: unknown): Blob => store(mediaType, Buffer.from(JSON.stringify(value)));
  const addLayer = async (
    name: string,
    entries: readonly Entry[],
    time: number,
  ): Promise<{ blob: Blob; diffId: string }> => {
    const tar = await packLayer(join(folder, name), entries, time);
    const blob = store("application/vnd.oci.image.layer.v1.tar+gzip", gzipSync(tar));
    return { blob, diffId: `sha256:${createHash("sha256").update(tar).digest("hex")}` };
  };

  const base = await addLayer("base", baseEntries(readFileSync(join(folder, "probe"))), JANUARY);
  const images = [];
  for (const [tag, entries, time, settings] of [
    ["1", modelEntries1(), JANUARY, config1],
    ["2", modelEntries2(), MARCH, config2],
  ] as const) {
    const model = await addLayer(`model-${tag}`, entries, time);
    const dependencies = await addLayer(`dependencies-${tag}`, dependencyEntries(), time);
    const layers = [base, model, dependencies];
    const config = storeJson("application/vnd.oci.image.config.v1+json", {
      created: new Date(time * 1_000).toISOString(),
      architecture: "amd64",
      os: "linux",
      config: settings,
      rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
      history: [
        { created_by: "base" },
        { created_by: `ENV GREETING=${tag}`, empty_layer: true },
        { created_by: "model and script" },
        { created_by: "dependencies" },
      ],
    });
    const mediaType = "application/vnd.oci.image.manifest.v1+json";
    const manifest = storeJson(mediaType, {
      schemaVersion: 2,
      mediaType,
      config,
      layers: layers.map(({ blob }) => blob),
    });
    images.push({ entry: { ...manifest, annotations: { "org.opencontainers.image.ref.name": tag } }, dependencies });
  }
  writeFileSync(join(layout, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  writeFileSync(
    join(layout, "index.json"),
    JSON.stringify({ schemaVersion: 2, manifests: images.map(({ entry }) => entry) }),
  );
  return { layout, dependencyBytes: images[1]?.dependencies.blob.size ?? 0 };
}

const config1 = {
  Env: ["PATH=/bin", "GREETING=one", "ONLY_IN_ONE=yes"],
  Entrypoint: ["/bin/probe"],
  Cmd: ["one"],
  WorkingDir: "/",
  Labels: { version: "1", "only.in.one": "yes" },
  ExposedPorts: { "8080/tcp": {} },
};
const config2 = {
  Env: ["PATH=/bin", "GREETING=two"],
  Entrypoint: ["/bin/probe"],
  Cmd: ["two", "and a half"],
  WorkingDir: "/app",
  User: "1001:100",
  Labels: { version: "2" },
  StopSignal: "SIGINT",
};

function baseEntries(probe: Uint8Array): Entry[] {
  return [
    { path: "bin/probe", content: probe, mode: 0o755 },
    { path: "etc/app.conf", content: "threads = 2\n" },
    { path: "etc/target", content: "linked\n" },
    { path: "etc/hard", hardLink: "etc/target" },
    { path: "etc/soft", symlink: "target" },
    { path: "tmp", mode: 0o1777 },
  ];
}

function modelEntries1(): Entry[] {
  return [
    { path: "model/model.pkl", content: seededBytes("model one", 1_500) },
    { path: "model/obsolete.txt", content: "gone in two\n" },
    { path: "app/score.py", content: "print('one')\n", owner: [1_000, 100] },
    { path: "app/run.sh", content: "exec probe\n" },
    { path: "app/unchanged.txt", content: "the same in both\n" },
    { path: "app/current", symlink: "/model/one" },
    { path: "app/kind", content: "a file in one\n" },
    { path: "app/old/deep/file.txt", content: "the folder is gone in two\n" },
    { path: "app/shared-a", content: "shared by one\n" },
    { path: "app/shared-b", hardLink: "app/shared-a" },
  ];
}

function modelEntries2(): Entry[] {
  return [
    { path: "model/model.pkl", content: seededBytes("model two", 1_500) },
    { path: "app/score.py", content: "print('two')\n", mode: 0o640, owner: [1_001, 100] },
    { path: "app/run.sh", content: "exec probe\n", mode: 0o755 },
    { path: "app/unchanged.txt", content: "the same in both\n" },
    { path: "app/current", symlink: "/model/two" },
    { path: "app/kind/file.txt", content: "a folder in two\n" },
    { path: "app/shared-a", content: "shared by two\n" },
    { path: "app/shared-b", hardLink: "app/shared-a" },
    { path: "app/shared-c", hardLink: "app/shared-a" },
    { path: `app/${"a-very-long-folder-name/".repeat(5)}file-with-a-path-beyond-100-characters.txt`, content: "x" },
  ];
}

function dependencyEntries(): Entry[] {
  return Array.from({ length: DEPENDENCY_FILES }, (_, index) => ({
    path: `opt/conda/lib/package-${index % 20}/module-${index}.so`,
    content: seededBytes(`dependency ${index}`, DEPENDENCY_FILE_BYTES),
  }));
}

/** Writes the entries to disk and packs them with GNU tar. */
async function packLayer(folder: string, entries: readonly Entry[], time: number): Promise<Buffer> {
  mkdirSync(folder, { recursive: true });
  for (const { path, content, symlink, hardLink, mode, owner } of entries) {
    const absolute = join(folder, path);
    mkdirSync(dirname(absolute), { recursive: true });
    if (symlink !== undefined) symlinkSync(symlink, absolute);
    else if (hardLink !== undefined) linkSync(join(folder, hardLink), absolute);
    else if (content === undefined) mkdirSync(absolute, { recursive: true });
    else writeFileSync(absolute, content);
    if (owner !== undefined) chownSync(absolute, ...owner);
    if (symlink === undefined && hardLink === undefined)
      chmodSync(absolute, mode ?? (content === undefined ? 0o755 : 0o644));
  }
  const archive = `${folder}.tar`;
  const mtime = new Date(time * 1_000).toISOString();
  await run("tar", [
    "--create",
    `--file=${archive}`,
    "--format=gnu",
    "--numeric-owner",
    "--sort=name",
    `--mtime=${mtime}`,
    "-C",
    folder,
    ".",
  ]);
  return readFileSync(archive);
}
