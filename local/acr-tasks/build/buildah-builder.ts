// Builds Dockerfiles with buildah: every run has image storage of its own, in its folder.
import { accessSync, constants, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { RunError, type RunErrorCode } from "../run-error.ts";
import { runProgram } from "../run-process.ts";
import type { CreateImageBuilder } from "./image-builder.ts";

/** The path of buildah, or undefined where it is not installed. */
export function findBuildah(): string | undefined {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(folder, "buildah");
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      continue;
    }
  }
  return undefined;
}

/** Mount points below a folder, the innermost first; none on systems without /proc. */
function listMounts(folder: string): string[] {
  let mounts: string;
  try {
    mounts = readFileSync("/proc/self/mounts", "utf8");
  } catch {
    return [];
  }
  return mounts
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((target) => target.startsWith(`${folder}/`))
    .toReversed();
}

/**
 * Makes builders that run the buildah at `path`. All instructions of the last stage make one layer, and manifests are
 * Docker's, as the agents of ACR Tasks push them.
 */
export function createBuildahBuilder(path: string): CreateImageBuilder {
  return ({ folder, authFile, env, log }) => {
    const policyFile = join(folder, "policy.json");
    const dockerfile = join(folder, "Dockerfile");
    const digestFile = join(folder, "digest");
    for (const name of ["root", "runroot", "tmp"]) mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(policyFile, JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));

    const buildah = async (words: readonly string[], code: RunErrorCode, signal: AbortSignal): Promise<void> => {
      const storage = [
        "--root",
        join(folder, "root"),
        "--runroot",
        join(folder, "runroot"),
        "--storage-driver",
        "overlay",
      ];
      const status = await runProgram({
        argv: [path, ...storage, ...words],
        env: { ...env, TMPDIR: join(folder, "tmp") },
        cwd: folder,
        signal,
        output: log,
      });
      signal.throwIfAborted();
      if (status === 0) return;
      const facts = { operation: "run buildah", subject: words[0] ?? "", got: `exit status ${status}` };
      throw new RunError(code, { ...facts, want: "exit status 0" });
    };
    const access = ["--authfile", authFile, "--tls-verify=false", "--signature-policy", policyFile];

    return {
      async build(request, signal) {
        const { os, architecture, variant } = request.platform;
        writeFileSync(dockerfile, request.dockerfile);
        const words = [
          "bud",
          ...access,
          "--isolation=chroot",
          "--layers=false",
          "--format=docker",
          "--platform",
          [os, architecture, ...(variant === undefined ? [] : [variant])].join("/"),
          ...(request.target === undefined ? [] : ["--target", request.target]),
          ...request.names.flatMap((name) => ["--tag", name]),
          ...request.arguments.map(({ name, value }) => `--build-arg=${name}=${value}`),
          "--file",
          dockerfile,
          request.context,
        ];
        await buildah(words, "BUILD_FAILED", signal);
      },
      async push(name, signal) {
        const words = ["push", ...access, "--format=v2s2", "--digestfile", digestFile, name, `docker://${name}`];
        await buildah(words, "PUSH_FAILED", signal);
        return readFileSync(digestFile, "utf8").trim();
      },
      async close() {
        // The overlay driver leaves its folder mounted onto itself, and what was killed leaves its containers mounted.
        for (const target of listMounts(folder)) {
          const argv = ["umount", "--lazy", target] as const;
          await runProgram({ argv, env, cwd: "/", signal: new AbortController().signal, output: () => {} });
        }
      },
    };
  };
}
