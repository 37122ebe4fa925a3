// One repository of an Azure Container Registry through Microsoft's SDK with an Entra identity.
import type { ContainerRegistryContentClient } from "@azure/container-registry";
import type { TokenCredential } from "@azure/core-auth";
import { RegistryError } from "../../core/image/registry-error.ts";
import type { Repository } from "../../ports/registry.ts";
import { gather, hasBlob } from "./blob-writer.ts";
import { fail, failByAnswer, failByConnection, type Operation } from "./failure.ts";
import { checkManifestDigest, mediaTypeOf, prepareManifest } from "./manifests.ts";
import { createNames, requireTagOrDigest } from "./names.ts";
import { createOciRepository, type RepositoryOptions } from "./oci.ts";
import { type Attempt, retry } from "./retry.ts";
import { createSdkHttpClient } from "./sdk-http-client.ts";
import type { Transport } from "./transport.ts";
import { CHUNK_BYTES } from "./upload.ts";

/** What an ACR repository needs besides: the identity, and the Entra audience of its cloud. */
export interface AcrRepositoryOptions extends RepositoryOptions {
  readonly transport: Transport;
  readonly credential: TokenCredential;
  readonly audience: string;
}

/**
 * Opens a repository of an ACR. Manifests and uploads go through `@azure/container-registry`; blob reads, which end
 * the process there when a blob is corrupt, and what the SDK does not offer (HEAD, mount, tags of one repository over
 * the standard API) go through `session`, which holds tokens of the same identity.
 */
export function createAcrRepository(options: AcrRepositoryOptions): Repository {
  const { registry, repository, session } = options;
  const names = createNames(registry, repository);
  const oci = createOciRepository(options);
  let client: Promise<ContainerRegistryContentClient> | undefined;
  const getClient = (): Promise<ContainerRegistryContentClient> => (client ??= createClient(options));

  return {
    ...oci,
    async getManifest(tagOrDigest) {
      const operation = names.describe("read manifest", tagOrDigest, "MANIFEST_UNKNOWN");
      requireTagOrDigest(operation, tagOrDigest);
      const sdk = await getClient();
      const { content, mediaType, digest } = await sdk.getManifest(tagOrDigest).catch(rethrow(operation));
      const checked = checkManifestDigest(operation, content, tagOrDigest, digest);
      return { mediaType: mediaTypeOf(operation, content, mediaType), digest: checked, bytes: content };
    },
    async putManifest(tagOrDigest, manifest) {
      const { operation, digest } = prepareManifest(names, tagOrDigest, manifest);
      const sdk = await getClient();
      const { mediaType, bytes } = manifest;
      const stored = await sdk
        .setManifest(Buffer.from(bytes), { tag: tagOrDigest, mediaType })
        .catch(rethrow(operation));
      if (stored.digest !== digest) throw fail("DIGEST_MISMATCH", operation, { got: stored.digest, want: digest });
      return digest;
    },
    async writeBlob(descriptor, content) {
      // The SDK knows only sha256, and cannot ask how much of a broken chunk has arrived: what it cannot send again as
      // a whole is uploaded without it.
      if (descriptor.digest.startsWith("sha512:")) return oci.writeBlob(descriptor, content);
      if (descriptor.size > CHUNK_BYTES) return oci.writeBlob(descriptor, content);
      if (await hasBlob(session, names, descriptor)) return;
      const operation = names.describe("write blob", descriptor.digest, "NAME_UNKNOWN");
      const bytes = Buffer.from(await gather(operation, descriptor, content));
      const sdk = await getClient();
      await retry(options.retry, async (): Promise<Attempt<unknown>> => {
        try {
          return { done: await sdk.uploadBlob(bytes) };
        } catch (error) {
          return { failed: toRegistryError(operation, error) };
        }
      });
    },
  };
}

async function createClient(options: AcrRepositoryOptions): Promise<ContainerRegistryContentClient> {
  const { registry, repository, base, transport, credential, audience } = options;
  // Loaded on first use: a command that only talks to a local registry does not pay for the SDK.
  const [{ ContainerRegistryContentClient }, { createHttpHeaders }] = await Promise.all([
    import("@azure/container-registry"),
    import("@azure/core-rest-pipeline"),
  ]);
  const names = createNames(registry, repository);
  const httpClient = createSdkHttpClient({
    base,
    transport,
    retry: options.retry,
    createHeaders: createHttpHeaders,
    operationOf: ({ method }) => names.describe(method, "", "NAME_UNKNOWN"),
  });
  return new ContainerRegistryContentClient(`https://${base.host}`, repository, credential, {
    httpClient,
    audience,
    retryOptions: { maxRetries: 0 },
  });
}

function rethrow(operation: Operation): (error: unknown) => never {
  return (error) => {
    throw toRegistryError(operation, error);
  };
}

/** Maps the SDK's errors to ours; the SDK's own error is not kept as the cause, as it carries the request's headers. */
function toRegistryError(operation: Operation, error: unknown): RegistryError {
  if (error instanceof RegistryError) {
    const { code, got, want, retryable, cause } = error;
    return fail(code, operation, {
      retryable,
      cause,
      ...(got === undefined ? {} : { got }),
      ...(want === undefined ? {} : { want }),
    });
  }
  const { statusCode, name, message, response } = error as {
    statusCode?: number;
    name?: string;
    message?: string;
    response?: { bodyAsText?: string | null };
  };
  if (typeof statusCode === "number" && statusCode >= 300) {
    return failByAnswer(operation, { status: statusCode, text: response?.bodyAsText ?? "" });
  }
  if (name === "DigestMismatchError") return fail("DIGEST_MISMATCH", operation, { got: message ?? "another digest" });
  if (name === "SyntaxError") {
    return fail("UNEXPECTED_RESPONSE", operation, { got: "a manifest that is not JSON", want: "a JSON object" });
  }
  if (name === "RestError" || name === "Error") {
    return fail("UNEXPECTED_RESPONSE", operation, { got: message ?? "an SDK error" });
  }
  return failByConnection(operation, error);
}
