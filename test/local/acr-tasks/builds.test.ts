// Dockerfile builds by both executors on the same images, judged by skopeo and umoci; and the faults of the classic recipe.
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import type { LocalAcrTasks } from "../../../local/acr-tasks/acr-tasks.ts";
import { buildImagePair } from "../../support/image-pair.ts";
import { run } from "../../support/run.ts";
import { missingTools } from "../../support/tools.ts";
import { packSource, seeImage, type SeenImage, uploadSource } from "./build-fixture.ts";
import { LINUX, readLog, schedule, useGround, waitFor } from "./support.ts";

const missing = missingTools("buildah", "skopeo", "umoci", "gcc");
const ground = useGround();
const EXECUTORS = ["buildah", "own"] as const;

/** Builds a Dockerfile that must succeed and returns what it pushed. */
async function build(
  service: LocalAcrTasks,
  files: Readonly<Record<string, string>>,
  name: string,
  more: Readonly<Record<string, unknown>> = {},
): Promise<SeenImage> {
  const { folder, registry } = ground();
  const runId = await schedule(service, {
    type: "DockerBuildRequest",
    dockerFilePath: "Dockerfile",
    imageNames: [name],
    platform: LINUX,
    sourceLocation: await uploadSource(service, await packSource(folder, files)),
    ...more,
  });
  const { properties } = await waitFor(service, runId);
  if (properties.status !== "Succeeded") throw new Error((await readLog(service, runId)).text);
  const seen = await seeImage(folder, `${registry.host}/${name}`);
  const [repository, tag] = name.split(":");
  expect(properties.outputImages).toEqual([
    { registry: registry.host, repository, tag, digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) as string },
  ]);
  return seen;
}

describe.skipIf(missing !== undefined || process.getuid?.() !== 0)("builds", () => {
  let anchor: SeenImage;
  let candidate: SeenImage;

  beforeAll(async () => {
    const { folder, registry } = ground();
    mkdirSync(join(folder, "pair"));
    const { layout } = await buildImagePair(join(folder, "pair"));
    for (const tag of ["1", "2"]) {
      const to = `docker://${registry.host}/team/app:${tag}`;
      await run("skopeo", ["copy", "--quiet", "--dest-tls-verify=false", `oci:${layout}:${tag}`, to]);
    }
    anchor = await seeImage(folder, `${registry.host}/team/app:1`);
    candidate = await seeImage(folder, `${registry.host}/team/app:2`);
  });

  test("of the classic recipe have its faults, with both executors alike", async () => {
    const { registry } = ground();
    const Dockerfile = `
FROM ${registry.host}/team/app:2 AS model
FROM ${registry.host}/team/app:1
COPY --from=model /model/ /model/
COPY --from=model ["/app/score.py", "/app/run.sh", "/app/"]
`;
    const startedMs = Date.now() - 1_000;
    const trees: unknown[] = [];
    for (const executor of EXECUTORS) {
      const service = await ground().start({ executor });
      const seen = await build(service, { Dockerfile }, `team/app:classic-${executor}`);
      trees.push(seen.tree);
      // What it is for: the anchor's own layers below, the model of the candidate on top.
      const anchorLayers = anchor.manifest.layers.map(({ digest }) => digest);
      const layers = seen.manifest.layers.map(({ digest }) => digest);
      expect(layers.slice(0, anchorLayers.length)).toEqual(anchorLayers);
      expect(layers.length).toBeGreaterThan(anchorLayers.length);
      expect(seen.manifest.mediaType).toBe("application/vnd.docker.distribution.manifest.v2+json");
      for (const path of ["model/model.pkl", "app/score.py", "app/run.sh"]) {
        expect(seen.tree[path]).toBe(candidate.tree[path]);
      }
      // COPY never deletes.
      expect(candidate.tree["model/obsolete.txt"]).toBeUndefined();
      expect(seen.tree["model/obsolete.txt"]).toBe(anchor.tree["model/obsolete.txt"]);
      // The configuration is the anchor's.
      expect(seen.config["Env"]).toEqual(anchor.config["Env"]);
      expect(seen.config["Cmd"]).toEqual(["one"]);
      // Directories that something was put into got the time of the build; files kept theirs.
      for (const folder of ["model", "app"]) {
        expect(statSync(join(seen.rootfs, folder)).mtimeMs).toBeGreaterThan(startedMs);
      }
      const model = "model/model.pkl";
      expect(statSync(join(seen.rootfs, model)).mtimeMs).toBe(statSync(join(candidate.rootfs, model)).mtimeMs);
    }
    expect(trees[0]).toEqual(trees[1]);
  });

  test("pull both images whole", async () => {
    const { registry } = ground();
    const service = await ground().start({ executor: "own" });
    const seen = (pattern: RegExp): number => layers.filter((path) => pattern.test(path)).length;
    const layers = [...anchor.manifest.layers, ...candidate.manifest.layers].map(({ digest }) => digest);
    registry.faults.clear();
    const waiting = new Map(
      [...new Set(layers)].map((digest) => [
        digest,
        registry.faults.inject({
          match: { method: "GET", path: `/blobs/${digest}` },
          effect: { kind: "delay", ms: 0 },
        }),
      ]),
    );
    const Dockerfile = `FROM ${registry.host}/team/app:2 AS m\nFROM ${registry.host}/team/app:1\nCOPY --from=m /app/score.py /app/\n`;
    await build(service, { Dockerfile }, "team/app:whole");
    expect([...waiting.values()].map((left) => left())).toEqual([...waiting].map(() => 0));
    expect(seen(/^sha256:/)).toBe(layers.length);
    registry.faults.clear();
  });

  test("make the same of every instruction of the subset", async () => {
    const { registry } = ground();
    const files = {
      Dockerfile: `
# a comment
ARG BASE=${registry.host}/team/app:1
FROM ${registry.host}/team/app:2 AS model
FROM scratch AS files
COPY --from=model ["/model/model.pkl", "/app/s[c]ore.py", "/picked/"]
COPY --from=model /app/current /links/
COPY --from=model /app/shared-a /app/shared-b /links/
FROM \${BASE}
ARG WHO=nobody
ENV GREETING="hello $WHO" TWO=2 \\
    # in between
    THREE='$TWO' FOUR=\${MISSING:-four}\${TWO:+!}
LABEL version=3 "quoted key"="a \\"b\\" c" who=$WHO
WORKDIR /srv
WORKDIR work/deep
COPY --from=files / /
COPY --from=model /app /copied
COPY --from=model /app/run.sh renamed.sh
COPY --from=0 /app/k*d /pattern/
COPY docs/*.txt docs/sub /texts/
COPY docs /docs
USER 1000:100
ENTRYPOINT ["/bin/probe"]
`,
      "docs/a.txt": "a\n",
      "docs/b.txt": "b\n",
      "docs/c.md": "c\n",
      "docs/sub/d.txt": "d\n",
    };
    // A link at the end of a source is followed; the pair's lead nowhere, so one that leads somewhere is added.
    const prepared = {
      ...files,
      Dockerfile: files.Dockerfile.replace(
        "COPY --from=model /app/current /links/\n",
        "COPY --from=model /etc/soft /links/\n",
      ),
    };
    const seen: SeenImage[] = [];
    for (const executor of EXECUTORS) {
      const service = await ground().start({ executor });
      const more = { arguments: [{ name: "WHO", value: "world" }] };
      seen.push(await build(service, prepared, `team/app:subset-${executor}`, more));
    }
    const [buildah, own] = seen as [SeenImage, SeenImage];
    expect(own.tree).toEqual(buildah.tree);
    const shown = ({ config }: SeenImage): unknown => {
      const { Env, Cmd, Entrypoint, WorkingDir, User, ExposedPorts } = config;
      const { "io.buildah.version": _version, ...labels } = config["Labels"] as Record<string, string>;
      // Buildah puts a changed variable last, docker leaves it where it was; an emptied command is [] or null.
      return { Env: (Env as string[]).toSorted(), Cmd: Cmd ?? [], Entrypoint, WorkingDir, User, ExposedPorts, labels };
    };
    expect(shown(own)).toEqual(shown(buildah));
    expect(own.config["Env"]).toContain("GREETING=hello world");
    expect(own.config["Env"]).toContain("THREE=$TWO");
    expect(own.tree["srv/work/deep/renamed.sh"]).toBe(candidate.tree["app/run.sh"]);
    expect(own.tree["picked/score.py"]).toBe(candidate.tree["app/score.py"]);
  });

  test("stop at the stage that is asked for", async () => {
    const { registry } = ground();
    const Dockerfile = `FROM ${registry.host}/team/app:2 AS model\nFROM scratch AS delta\nCOPY --from=model /app/score.py /app/\nFROM ${registry.host}/team/missing:1\nCOPY --from=delta / /\n`;
    const trees: unknown[] = [];
    for (const executor of EXECUTORS) {
      const service = await ground().start({ executor });
      const { tree, manifest } = await build(service, { Dockerfile }, `team/app:target-${executor}`, {
        target: "delta",
      });
      expect(manifest.layers).toHaveLength(1);
      trees.push(tree);
    }
    expect(trees[0]).toEqual(trees[1]);
    expect(Object.keys(trees[0] as object)).toEqual(["/", "app", "app/score.py"]);
  });
});

describe("a build fails and says why", () => {
  const cases: readonly [what: string, dockerfile: string, log: RegExp][] = [
    ["RUN", "FROM scratch\nRUN echo hi", /RUN in line 2: got RUN/],
    ["ADD", "FROM scratch\n\nADD a b", /ADD in line 3/],
    ["an unknown instruction", "FROM scratch\nCOPPY a b", /COPPY in line 2: got an unknown instruction/],
    ["an option of COPY", "FROM scratch\nCOPY --chmod=755 a b", /COPY in line 2: got --chmod/],
    ["a here-document", "FROM scratch\nCOPY <<EOF /a\nhi\nEOF", /COPY in line 2: got a here-document/],
    [
      "a source that is not there",
      "FROM scratch\nCOPY nothing /a",
      /copy COPY in line 2: got no such file or directory: nothing/,
    ],
    ["a source out of the context", "FROM scratch\nCOPY ../../../etc/passwd /a", /no such file or directory/],
    ["no FROM", "COPY a b", /COPY in line 1: got an instruction before FROM/],
    ["an image that is not there", "FROM HOST/none/there:1\nCOPY Dockerfile /", /pull .*none\/there:1/],
    ["an unreadable image name", "FROM UPPER/Case\nCOPY Dockerfile /", /find image "UPPER\/Case"/],
  ];
  for (const [what, dockerfile, log] of cases) {
    test(`for ${what}`, async () => {
      const { folder, registry } = ground();
      const service = await ground().start({ executor: "own" });
      const archive = await packSource(folder, { Dockerfile: dockerfile.replace("HOST", registry.host) });
      const runId = await schedule(service, {
        type: "DockerBuildRequest",
        dockerFilePath: "Dockerfile",
        imageNames: ["team/app:never"],
        platform: LINUX,
        sourceLocation: await uploadSource(service, archive),
      });
      const { properties } = await waitFor(service, runId);
      const { text, outcome } = await readLog(service, runId);
      expect(text).toMatch(log);
      expect([properties.status, outcome]).toEqual(["Failed", "failed"]);
      expect(properties.outputImages).toBeUndefined();
    });
  }

  test("for a source that was never uploaded, is no tar.gz, or is not ours", async () => {
    const service = await ground().start();
    const unused = (await uploadSource(service, Buffer.from("no archive"))).replace(
      /[0-9a-f]{12}\.tar/,
      "000000000000.tar",
    );
    const broken = await uploadSource(service, Buffer.from("no archive"));
    for (const [sourceLocation, log] of [
      [unused, /download source .*BlobNotFound/],
      [broken, /unpack source/],
      ["https://example.com/a.tar.gz", /want a relative path of listBuildSourceUploadUrl/],
    ] as const) {
      const runId = await schedule(service, {
        type: "DockerBuildRequest",
        dockerFilePath: "Dockerfile",
        platform: LINUX,
        sourceLocation,
      });
      expect((await waitFor(service, runId)).properties.status).toBe("Failed");
      expect((await readLog(service, runId)).text).toMatch(log);
    }
  });
});
