// What a run needs of a Dockerfile executor, whichever it is.

/** An image to be built; `names` are whole references, `registry/repository:tag`. */
export interface BuildRequest {
  readonly dockerfile: string;
  /** The folder that COPY without `--from` reads. */
  readonly context: string;
  readonly names: readonly string[];
  readonly target: string | undefined;
  readonly arguments: readonly { readonly name: string; readonly value: string }[];
  readonly platform: { readonly os: string; readonly architecture: string; readonly variant?: string };
}

/** Where an executor works and whom it tells. */
interface BuilderOptions {
  /** An existing, empty folder. */
  readonly folder: string;
  /** Docker's config.json with the run's logins. */
  readonly authFile: string;
  /** Environment of child processes. */
  readonly env: Readonly<Record<string, string>>;
  readonly log: (text: string) => void;
  /** The clock's time in ms, for what records the time of the build. */
  readonly now: () => number;
}

/** Builds images on an agent and pushes them from there. */
export interface ImageBuilder {
  /** @throws RunError DOCKERFILE_INVALID, DOCKERFILE_UNSUPPORTED, BUILD_FAILED, IMAGE_UNAVAILABLE */
  build(request: BuildRequest, signal: AbortSignal): Promise<void>;
  /** Pushes an image that was built under this name; returns the digest of its manifest. @throws RunError PUSH_FAILED */
  push(name: string, signal: AbortSignal): Promise<string>;
  /** Lets go of the folder, so that it can be removed. */
  close(): Promise<void>;
}

/** Creates the executor of one run. */
export type CreateImageBuilder = (options: BuilderOptions) => ImageBuilder;
