// What every registry adapter does against every registry: one suite, run for each pair of them.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ClosableRegistries } from "../../../src/adapters/registry/index.ts";
import type { Descriptor } from "../../../src/core/image/descriptor.ts";
import type { Repository } from "../../../src/ports/registry.ts";
import { seededBytes } from "../../support/seeded-bytes.ts";
import { collect, describeBytes, failureOf, inParts, manifestOf } from "./fixtures.ts";

/** A registry that runs, and ways to reach it. */
export interface Backend {
  readonly host: string;
  readonly registries: ClosableRegistries;
  /** Registries with wrong credentials; absent where the registry asks for none. */
  readonly intruders?: ClosableRegistries;
  close(): Promise<void>;
}

/** A case that a pair cannot run, and why. */
export type Exclusions = Partial<Record<"mount" | "index", string>>;

const MIB = 1024 * 1024;
const DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_INDEX = "application/vnd.oci.image.index.v1+json";

/** Declares the suite for one adapter against one registry; `skip` is a reason why it cannot run at all. */
export function describeRegistryContract(
  name: string,
  start: () => Promise<Backend>,
  options: { readonly skip?: string | undefined; readonly exclusions?: Exclusions } = {},
): void {
  const { skip, exclusions = {} } = options;
  const unless = (key: keyof Exclusions): typeof test | typeof test.skip =>
    exclusions[key] === undefined ? test : test.skip;
  const reason = (key: keyof Exclusions): string =>
    exclusions[key] === undefined ? "" : ` (not here: ${exclusions[key]})`;

  describe.skipIf(skip !== undefined)(`contract of the ${name}`, () => {
    let backend: Backend;
    let app: Repository;
    const open = (repository: string): Repository => backend.registries.open(backend.host, repository);

    beforeAll(async () => {
      backend = await start();
      app = open("team/app");
    });
    afterAll(async () => {
      await backend?.registries.close();
      await backend?.intruders?.close();
      await backend?.close();
    });

    const push = async (repository: Repository, seed: string, size = 1_000): Promise<Descriptor> => {
      const bytes = seededBytes(seed, size);
      const descriptor = describeBytes(bytes);
      await repository.writeBlob(descriptor, bytes);
      return descriptor;
    };

    describe("blobs", () => {
      test.each([0, 1, 4_095, 70_000, 5 * MIB + 1])("%i bytes are read as they were written", async (size) => {
        const bytes = seededBytes(`bytes ${size}`, size);
        await app.writeBlob(describeBytes(bytes), bytes);
        expect((await collect(app.readBlob(describeBytes(bytes)))).equals(bytes)).toBe(true);
      });

      test.each([
        [0, 10],
        [3_000, 7],
        [4 * MIB, 1_000_000],
        [9 * MIB + 5, 333_333],
      ])("a stream of %i bytes in parts of %i is read as it was written", async (size, partBytes) => {
        const bytes = seededBytes(`stream ${size}`, size);
        await app.writeBlob(describeBytes(bytes), inParts(bytes, partBytes));
        expect((await collect(app.readBlob(describeBytes(bytes)))).equals(bytes)).toBe(true);
      });

      test("a blob that is there already is not sent again", async () => {
        const descriptor = await push(app, "already there");
        let asked = false;
        const content = (async function* (): AsyncGenerator<Uint8Array> {
          asked = true;
          yield seededBytes("already there", 1_000);
        })();
        await app.writeBlob(descriptor, content);
        expect(asked).toBe(false);
      });

      test.each([100, 6 * MIB])("content of %i bytes under another digest is refused and not kept", async (size) => {
        const described = describeBytes(seededBytes(`described ${size}`, size));
        const other = seededBytes(`other ${size}`, size);
        expect((await failureOf(app.writeBlob(described, other))).code).toBe("DIGEST_MISMATCH");
        expect((await failureOf(app.writeBlob(described, inParts(other, 100_000)))).code).toBe("DIGEST_MISMATCH");
        expect((await failureOf(collect(app.readBlob(described)))).code).toBe("BLOB_UNKNOWN");
        expect((await failureOf(collect(app.readBlob(describeBytes(other))))).code).toBe("BLOB_UNKNOWN");
      });

      test.each([-1, 1])("content whose size is off by %i is refused", async (off) => {
        const bytes = seededBytes(`size off by ${off}`, 5 * MIB);
        const described = { ...describeBytes(bytes), size: bytes.length + off };
        expect((await failureOf(app.writeBlob(described, bytes))).code).toBe("SIZE_MISMATCH");
        expect((await failureOf(app.writeBlob(described, inParts(bytes, 100_000)))).code).toBe("SIZE_MISMATCH");
      });

      test("a source that fails ends the upload with its own error", async () => {
        const bytes = seededBytes("failing source", 6 * MIB);
        const content = (async function* (): AsyncGenerator<Uint8Array> {
          yield bytes.subarray(0, 5 * MIB);
          throw new RangeError("the source broke");
        })();
        await expect(app.writeBlob(describeBytes(bytes), content)).rejects.toThrow(RangeError);
      });

      test("an unknown blob is BLOB_UNKNOWN, named in the message", async () => {
        const descriptor = describeBytes(Buffer.from("never pushed"));
        const error = await failureOf(collect(app.readBlob(descriptor)));
        expect(error.code).toBe("BLOB_UNKNOWN");
        expect(error.message).toContain(`read blob ${backend.host}/team/app@${descriptor.digest}`);
        expect(error.retryable).toBe(false);
      });

      test.each([-1, 1])("a descriptor whose size is off by %i is refused on reading", async (off) => {
        const descriptor = await push(app, "read size");
        const lying = { ...descriptor, size: descriptor.size + off };
        expect((await failureOf(collect(app.readBlob(lying)))).code).toBe("SIZE_MISMATCH");
      });

      test("a foreign layer is UNSUPPORTED", async () => {
        const descriptor = await push(app, "foreign");
        const byUrl = { ...descriptor, urls: ["https://example.com/layer.tar.gz"] };
        const byType = { ...descriptor, mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" };
        expect((await failureOf(collect(app.readBlob(byUrl)))).code).toBe("UNSUPPORTED");
        expect((await failureOf(collect(app.readBlob(byType)))).code).toBe("UNSUPPORTED");
      });

      test("readers that stop early leave the registry usable, many times over", async () => {
        const descriptor = await push(app, "stopped early", 3 * MIB);
        for (let round = 0; round < 40; round++) {
          for await (const part of app.readBlob(descriptor)) {
            expect(part.length).toBeGreaterThan(0);
            break;
          }
        }
        expect(await collect(app.readBlob(descriptor))).toHaveLength(3 * MIB);
      });

      test("twenty readers and writers at once do not disturb each other", async () => {
        const all = Array.from({ length: 20 }, (_, index) => seededBytes(`parallel ${index}`, 200_000 + index));
        await Promise.all(all.map((bytes) => app.writeBlob(describeBytes(bytes), bytes)));
        const read = await Promise.all(all.map((bytes) => collect(app.readBlob(describeBytes(bytes)))));
        expect(read.every((bytes, index) => bytes.equals(all[index] as Buffer))).toBe(true);
      });

      unless("mount")(`a blob of another repository is mounted${reason("mount")}`, async () => {
        const descriptor = await push(open("team/source"), "mounted");
        const target = open("team/target");
        expect(await target.mountBlob(descriptor.digest, "team/source")).toBe(true);
        expect(await collect(target.readBlob(descriptor))).toHaveLength(descriptor.size);
      });

      test("a blob that is nowhere is not mounted, and can then be uploaded", async () => {
        await push(open("team/source"), "anything");
        const bytes = seededBytes("not mounted", 500);
        const target = open("team/target");
        expect(await target.mountBlob(describeBytes(bytes).digest, "team/source")).toBe(false);
        await target.writeBlob(describeBytes(bytes), bytes);
        expect(await collect(target.readBlob(describeBytes(bytes)))).toEqual(bytes);
      });
    });

    describe("manifests", () => {
      test("a manifest is found by tag and by digest, byte for byte", async () => {
        const manifest = manifestOf(await push(app, "config"), [await push(app, "layer")]);
        const digest = await app.putManifest("v1", manifest);
        expect(digest).toBe(describeBytes(manifest.bytes).digest);
        for (const reference of ["v1", digest]) {
          const read = await app.getManifest(reference);
          expect(read).toMatchObject({ mediaType: manifest.mediaType, digest });
          expect(Buffer.from(read.bytes).equals(manifest.bytes)).toBe(true);
        }
      });

      test("a manifest pushed twice is the same manifest", async () => {
        const manifest = manifestOf(await push(app, "twice"), []);
        expect(await app.putManifest("twice", manifest)).toBe(await app.putManifest("twice", manifest));
      });

      test("a manifest is pushed by its own digest, and by no other", async () => {
        const manifest = manifestOf(await push(app, "by digest"), []);
        const { digest } = describeBytes(manifest.bytes);
        expect(await app.putManifest(digest, manifest)).toBe(digest);
        expect((await app.getManifest(digest)).digest).toBe(digest);
        const other = describeBytes(Buffer.from("other")).digest;
        expect((await failureOf(app.putManifest(other, manifest))).code).toBe("DIGEST_MISMATCH");
      });

      test("a Docker manifest keeps its media type", async () => {
        const config = { ...(await push(app, "docker")), mediaType: "application/vnd.docker.container.image.v1+json" };
        const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: DOCKER_MANIFEST, config, layers: [] }));
        await app.putManifest("docker", { mediaType: DOCKER_MANIFEST, bytes });
        expect((await app.getManifest("docker")).mediaType).toBe(DOCKER_MANIFEST);
      });

      unless("index")(`an index of manifests keeps its media type${reason("index")}`, async () => {
        const manifest = manifestOf(await push(app, "indexed"), []);
        const digest = await app.putManifest("indexed", manifest);
        const entry = { mediaType: manifest.mediaType, digest, size: manifest.bytes.length };
        const platform = { os: "linux", architecture: "arm64", variant: "v8" };
        const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [{ ...entry, platform }] };
        await app.putManifest("multi", { mediaType: OCI_INDEX, bytes: Buffer.from(JSON.stringify(index)) });
        const read = await app.getManifest("multi");
        expect(read.mediaType).toBe(OCI_INDEX);
        expect(JSON.parse(Buffer.from(read.bytes).toString())).toEqual(index);
      });

      test("an unknown tag or digest is MANIFEST_UNKNOWN, an unknown repository that or NAME_UNKNOWN", async () => {
        const { digest } = describeBytes(Buffer.from("no manifest"));
        expect((await failureOf(app.getManifest("no-such-tag"))).code).toBe("MANIFEST_UNKNOWN");
        expect((await failureOf(app.getManifest(digest))).code).toBe("MANIFEST_UNKNOWN");
        const { code } = await failureOf(open("team/nothing").getManifest("v1"));
        expect(["MANIFEST_UNKNOWN", "NAME_UNKNOWN"]).toContain(code);
      });

      test("a manifest above four MiB is refused before it is sent", async () => {
        const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, filler: "x".repeat(4 * MIB) }));
        const manifest = { mediaType: "application/vnd.oci.image.manifest.v1+json", bytes };
        expect((await failureOf(app.putManifest("large", manifest))).code).toBe("MANIFEST_TOO_LARGE");
      });

      test("names that would change the address are refused", async () => {
        expect((await failureOf(app.getManifest("../secrets"))).code).toBe("MANIFEST_UNKNOWN");
        expect((await failureOf(open("../other").getManifest("v1"))).code).toBe("NAME_UNKNOWN");
        expect((await failureOf(open("Team/App").getManifest("v1"))).code).toBe("NAME_UNKNOWN");
        const digest = "sha256:../../x" as Descriptor["digest"];
        expect((await failureOf(collect(app.readBlob({ mediaType: "x/y", digest, size: 1 })))).code).toBe(
          "UNSUPPORTED",
        );
      });
    });

    describe("tags", () => {
      test("all tags are listed in lexical order", async () => {
        const tagged = open("team/tagged");
        const manifest = manifestOf(await push(tagged, "tagged"), []);
        for (const tag of ["v10", "v2", "latest", "Beta", "_x"]) await tagged.putManifest(tag, manifest);
        const tags: string[] = [];
        for await (const tag of tagged.listTags()) tags.push(tag);
        expect(tags).toEqual(["Beta", "_x", "latest", "v10", "v2"]);
      });

      test("an unknown repository is NAME_UNKNOWN", async () => {
        const listing = open("team/never").listTags()[Symbol.asyncIterator]();
        expect((await failureOf(listing.next())).code).toBe("NAME_UNKNOWN");
      });
    });

    test("wrong credentials are UNAUTHORIZED for every operation, where the registry asks for any", async () => {
      if (backend.intruders === undefined) return;
      const bytes = seededBytes("intruder", 10);
      const repository = backend.intruders.open(backend.host, "team/app");
      const calls = [
        repository.getManifest("v1"),
        collect(repository.readBlob(describeBytes(bytes))),
        repository.writeBlob(describeBytes(bytes), bytes),
        repository.putManifest("v1", manifestOf(describeBytes(bytes), [])),
      ];
      expect((await Promise.all(calls.map(failureOf))).map(({ code }) => code)).toEqual(
        calls.map(() => "UNAUTHORIZED"),
      );
    });
  });
}
