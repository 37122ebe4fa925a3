// What registries cost a process: no Azure SDK unless an ACR is spoken to, and no waiting at its end.
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ScriptedRegistry, startScriptedRegistry } from "../../support/scripted-registry.ts";
import { tryRun } from "../../support/run.ts";
import { seededBytes } from "../../support/seeded-bytes.ts";
import { describeBytes, manifestOf } from "./fixtures.ts";

const INDEX = new URL("../../../src/adapters/registry/index.ts", import.meta.url).href;
const content = seededBytes("process", 3 * 1024 * 1024);
const blob = describeBytes(content);
const manifest = manifestOf(blob, []);
const manifestDigest = describeBytes(manifest.bytes).digest;

let registry: ScriptedRegistry;
beforeAll(async () => {
  // Connections are kept open by the server for as long as the client likes.
  registry = await startScriptedRegistry(({ path }, response) => {
    if (path.includes("/manifests/")) {
      response.writeHead(200, { "content-type": manifest.mediaType, "docker-content-digest": manifestDigest });
      response.end(manifest.bytes);
    } else response.end(content);
  });
});
afterAll(() => registry.close());

/** Reads a manifest and blobs in a process of its own, the last only in part, and leaves everything open. */
const runReader = (kind: "oci" | "acr"): ReturnType<typeof tryRun> =>
  tryRun(process.execPath, [
    "--input-type=module-typescript",
    "--eval",
    `
    import { registerHooks } from "node:module";
    const loaded = new Set();
    registerHooks({
      resolve(specifier, context, next) {
        loaded.add(specifier);
        return next(specifier, context);
      },
    });
    const { createRegistries } = await import(${JSON.stringify(INDEX)});
    const registries = createRegistries({
      kinds: { ${JSON.stringify(registry.host)}: ${JSON.stringify(kind)} },
      credentials: async () => undefined,
      tokenCredential: async () => ({ getToken: async () => ({ token: "t", expiresOnTimestamp: 4e12 }) }),
    });
    const repository = registries.open(${JSON.stringify(registry.host)}, "team/app");
    await repository.getManifest("v1");
    let size = 0;
    for await (const chunk of repository.readBlob(${JSON.stringify(blob)})) size += chunk.length;
    for await (const chunk of repository.readBlob(${JSON.stringify(blob)})) break;
    console.log(JSON.stringify({ size, azure: [...loaded].filter((name) => name.startsWith("@azure/")) }));
  `,
  ]);

test("the oci adapter loads no Azure SDK, and open connections do not keep a process alive", async () => {
  const { code, stdout, stderr } = await runReader("oci");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(JSON.parse(stdout)).toEqual({ size: content.length, azure: [] });
});

test("the acr adapter loads the SDK when it is used", async () => {
  const { code, stdout } = await runReader("acr");
  expect(code).toBe(0);
  const { azure } = JSON.parse(stdout) as { azure: string[] };
  expect(azure).toContain("@azure/container-registry");
  expect(azure).not.toContain("@azure/identity");
});
