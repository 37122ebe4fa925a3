// OCI content descriptors: how one piece of content names another by media type, digest and size.

/** A content digest, `sha256:` + 64 or `sha512:` + 128 lower-case hex characters (OCI image-spec, descriptor.md). */
export type Digest = `sha256:${string}` | `sha512:${string}`;

/** The platform an image runs on, as in an image index (OCI image-spec, image-index.md). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** Names content by digest and size in bytes (OCI image-spec, descriptor.md). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly urls?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: Platform;
  readonly artifactType?: string;
}
