// The small executor of Dockerfiles: no container, no RUN; it imitates what `docker build` makes of the other instructions.
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { openContentStore } from "../../edge-device/content-store.ts";
import { createDirectory, type DirectoryNode, stackLayer } from "../../edge-device/layer-tree.ts";
import { createRegistryClient } from "../../edge-device/registry-client.ts";
import { expandWord } from "../dockerfile/expand-word.ts";
import { invalidLine } from "../dockerfile/dockerfile-error.ts";
import { type Dockerfile, type Instruction, parseDockerfile, type Stage } from "../dockerfile/parse-dockerfile.ts";
import { parseImageName } from "../image-names.ts";
import { RunError } from "../run-error.ts";
import { createBaseImages, type BaseImage, type ImageLayer } from "./base-image.ts";
import { readContextTree } from "./context-tree.ts";
import { copyFiles } from "./copy-files.ts";
import { readDockerAuth } from "./docker-auth.ts";
import { enterLayer, findInTree } from "./find-in-tree.ts";
import type { BuildRequest, CreateImageBuilder } from "./image-builder.ts";
import { type ImageBlob, type PushableImage, pushImage } from "./push-image.ts";
import { absolutePath, configure, record, startStage, type StageState, variablesOf } from "./stage-state.ts";
import { writeLayer } from "./write-layer.ts";

const DOCKER_HUB = "docker.io";
const MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG = "application/vnd.docker.container.image.v1+json";
const GZIP_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/**
 * Creates the executor. As with docker, every instruction that changes files makes a layer of its own, and what comes out
 * is an image in Docker's media types on top of the base's own blobs.
 */
export const createOwnBuilder: CreateImageBuilder = ({ folder, authFile, log, now }) => {
  const built = new Map<string, PushableImage>();
  const credentials = readDockerAuth(authFile);
  const store = openContentStore(folder);
  const client = createRegistryClient({
    userAgent: "docker/20.10.0 lighter-acr-tasks",
    credentials: () => credentials,
  });
  const images = createBaseImages(folder, client, store);
  let files = 0;
  const nextFile = (name: string): string => join(folder, `${name}-${files++}`);

  const storeLayer = async (tree: DirectoryNode): Promise<ImageLayer> => {
    const layer = await writeLayer(tree, nextFile("layer"));
    return { mediaType: GZIP_LAYER, ...layer };
  };

  return {
    async build(request, signal) {
      const dockerfile = parseDockerfile(request.dockerfile);
      const buildStages = createStageBuilder(dockerfile, request, signal);
      const state = await buildStages(findTarget(dockerfile, request.target));
      const image = assemble(state, request, now(), nextFile("config"));
      for (const name of request.names) built.set(name, image);
      log(`Successfully built ${image.digest}\n`);
    },
    async push(name, signal) {
      const image = built.get(name);
      if (image === undefined) {
        const facts = { operation: "push", subject: name, got: "an image that was not built here" };
        throw new RunError("PUSH_FAILED", facts);
      }
      await pushImage(image, parseImageName(name, DOCKER_HUB), credentials, signal);
      return image.digest;
    },
    close: () => Promise.resolve(),
  };

  /** Builds stages by index, each once, and only those that are needed. */
  function createStageBuilder(
    dockerfile: Dockerfile,
    request: BuildRequest,
    signal: AbortSignal,
  ): (index: number) => Promise<StageState> {
    const given = new Map(request.arguments.map(({ name, value }) => [name, value]));
    const globals = new Map<string, string>();
    for (const arg of dockerfile.globalArgs) {
      const value = given.get(arg.name) ?? (arg.value === undefined ? undefined : expandWord(arg.value, globals, arg));
      if (value !== undefined) globals.set(arg.name, value);
    }
    const done = new Map<number, Promise<StageState>>();
    let context: DirectoryNode | undefined;

    const stageOf = (name: string, before: number): number =>
      dockerfile.stages.findLastIndex((stage, index) => index < before && stage.name === name.toLowerCase());
    const buildStage = (index: number): Promise<StageState> => {
      const known = done.get(index) ?? carryOut(dockerfile.stages[index] as Stage, index);
      done.set(index, known);
      return known;
    };
    const pull = async (image: string, platform: string | undefined): Promise<BaseImage> => {
      const [os = request.platform.os, architecture = request.platform.architecture] = platform?.split("/") ?? [];
      log(`Pulling ${image}\n`);
      return await images.pull(parseImageName(image, DOCKER_HUB), { os, architecture }, signal);
    };

    async function openBase(stage: Stage, index: number): Promise<StageState> {
      const image = expandWord(stage.image, globals, stage);
      if (image === "") throw invalidLine(stage, "no image", "an image");
      if (image === "scratch") return startStage(undefined);
      const other = stageOf(image, index);
      if (other < 0) return startStage(await pull(image, stage.platform && expandWord(stage.platform, globals, stage)));
      const base = await buildStage(other);
      const tree = createDirectory();
      stackLayer(tree, base.tree);
      const json = { ...base.base, config: base.config, history: base.history };
      return startStage({ json, layers: base.layers, tree });
    }

    async function carryOut(stage: Stage, index: number): Promise<StageState> {
      log(`Stage ${index + 1}/${dockerfile.stages.length} : ${stage.text}\n`);
      const state = await openBase(stage, index);
      for (const instruction of stage.instructions) {
        signal.throwIfAborted();
        log(`Step in line ${instruction.line} : ${instruction.text}\n`);
        await perform(state, instruction, index);
      }
      return state;
    }

    async function perform(state: StageState, instruction: Instruction, index: number): Promise<void> {
      const expand = (word: string): string => expandWord(word, variablesOf(state), instruction);
      switch (instruction.kind) {
        case "arg": {
          const value =
            given.get(instruction.name) ??
            (instruction.value === undefined ? globals.get(instruction.name) : expand(instruction.value));
          if (value !== undefined) state.args.set(instruction.name, value);
          record(state, instruction, now());
          break;
        }
        case "workdir": {
          const path = absolutePath(state, expand(instruction.value));
          const layer = makeFolder(state.tree, path, now(), instruction);
          const names = findInTree(createDirectory(), path)?.names ?? [];
          state.config = { ...state.config, WorkingDir: `/${names.join("/")}` };
          record(state, instruction, now(), layer === undefined ? undefined : await storeLayer(layer));
          break;
        }
        case "copy": {
          const source = await openSource(instruction.from, index);
          const layer = copyFiles(state.tree, {
            source,
            paths: instruction.sources.map(expand),
            destination: absolutePath(state, expand(instruction.destination)),
            keepOwners: instruction.from !== undefined,
            nowMs: now(),
            subject: `${instruction.keyword} in line ${instruction.line}`,
          });
          record(state, instruction, now(), await storeLayer(layer));
          break;
        }
        default:
          configure(state, instruction);
          record(state, instruction, now());
      }
    }

    async function openSource(from: string | undefined, index: number): Promise<DirectoryNode> {
      if (from === undefined) return (context ??= readContextTree(request.context));
      const number = /^\d+$/.test(from) ? Number(from) : -1;
      const stage = number >= 0 && number < index ? number : stageOf(from, index);
      if (stage >= 0) return (await buildStage(stage)).tree;
      return (await pull(from, undefined)).tree;
    }

    return buildStage;
  }
};

/** The index of the stage to build. @throws RunError BUILD_FAILED */
function findTarget({ stages }: Dockerfile, target: string | undefined): number {
  if (target === undefined) return stages.length - 1;
  const byName = stages.findIndex(({ name }) => name === target.toLowerCase());
  const index = byName < 0 && /^\d+$/.test(target) ? Number(target) : byName;
  if (index >= 0 && index < stages.length) return index;
  throw new RunError("BUILD_FAILED", { operation: "find target", subject: target.slice(0, 80), got: "no such stage" });
}

/** The layer that makes a directory, or undefined when it is there. */
function makeFolder(tree: DirectoryNode, path: string, nowMs: number, source: Instruction): DirectoryNode | undefined {
  const found = findInTree(tree, path);
  if (found?.node?.type === "directory") return undefined;
  if (found === undefined || found.node !== undefined) throw invalidLine(source, `${path}, which is a file`);
  const layer = createDirectory();
  enterLayer(layer, tree, found.names, () => ({ mode: 0o755, uid: 0, gid: 0, mtimeMs: nowMs }));
  stackLayer(tree, layer);
  return layer;
}

/** Writes configuration and manifest. */
function assemble(state: StageState, { platform }: BuildRequest, nowMs: number, configFile: string): PushableImage {
  const { os, architecture, variant } = platform;
  const { container: _container, container_config: _config, ...base } = state.base;
  const json = {
    ...base,
    architecture: base["architecture"] ?? architecture,
    os: base["os"] ?? os,
    ...(base["variant"] === undefined && variant !== undefined ? { variant } : {}),
    created: new Date(nowMs).toISOString(),
    config: state.config,
    rootfs: { type: "layers", diff_ids: state.layers.map(({ diffId }) => diffId) },
    history: state.history,
  };
  const bytes = Buffer.from(JSON.stringify(json));
  writeFileSync(configFile, bytes);
  const config: ImageBlob = { mediaType: CONFIG, digest: digestOf(bytes), size: bytes.length, file: configFile };
  const describe = ({ mediaType, digest, size }: ImageBlob): object => ({ mediaType, size, digest });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: describe(config),
      layers: state.layers.map(describe),
    }),
  );
  return { blobs: [...state.layers, config], mediaType: MANIFEST, manifest, digest: digestOf(manifest) };
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
