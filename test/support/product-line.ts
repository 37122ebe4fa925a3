// One product on a stack under test: its pushes, its releases over HTTP, and what operations tell them.
import type { PushableImage } from "../../local/demo/push-image.ts";
import type { ReleaseView } from "../../src/core/release/view.ts";
import type { StackFixture } from "./stack-fixture.ts";

/** How the HTTP API answered. */
interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** What became of an event, as the HTTP API says it. */
export interface Outcome {
  readonly outcome: "opened" | "existing" | "ignored";
  readonly reason: string;
  readonly releaseId?: string;
}

/** A product with helpers around it. */
export interface ProductLine {
  readonly name: string;
  readonly repository: string;
  /** The repository with its registry, as references start. */
  readonly at: string;
  push(image: PushableImage, tag: string): Promise<void>;
  /** Says that the fleet runs none of it yet, so that a first release may be rolled back to nothing. */
  startFromNothing(): Promise<void>;
  /** Asks for a release of a tag or digest by hand. */
  open(reference: string, rerun?: boolean): Promise<Outcome>;
  /** The releases of this product, oldest first. */
  releases(): Promise<readonly ReleaseView[]>;
  /** Polls until `look` finds something in the newest release of a tag. */
  when<T>(tag: string, what: string, look: (release: ReleaseView) => T | undefined, seconds?: number): Promise<T>;
  /** Polls until the newest release of a tag is over. */
  finished(tag: string, seconds?: number): Promise<ReleaseView>;
  /** Polls until the newest release of a tag has entered a ring, 0 being the first. */
  inRing(tag: string, ring: number): Promise<ReleaseView>;
  command(release: { readonly id: string }, kind: "abort" | "rollback", body?: unknown): Promise<Answer>;
}

/** Helpers around the product `name` of `fixture`. */
export function createProductLine(fixture: StackFixture, name: string): ProductLine {
  const repository = `team/${name}`;
  const at = `${fixture.stack.registry.host}/${repository}`;
  const line: ProductLine = {
    name,
    repository,
    at,
    push: (image, tag) => fixture.push(image, tag, repository),
    async startFromNothing() {
      const { status, body } = await fixture.stack.call("POST", `products/${name}/baseline`, { absent: true });
      if (status !== 200) throw new Error(`baseline of ${name}: ${status} ${JSON.stringify(body)}`);
    },
    async open(reference, rerun = false) {
      const { body } = await fixture.stack.call("POST", "releases", { image: `${at}${reference}`, rerun });
      return body as Outcome;
    },
    async releases() {
      return (await fixture.releases()).filter(({ product }) => product === name).toReversed();
    },
    async when(tag, what, look, seconds = 40) {
      let last: ReleaseView | undefined;
      try {
        return await fixture.until(
          `${what} of ${name}:${tag}`,
          async () => {
            last = (await line.releases()).findLast((release) => release.tag === tag);
            return last && look(last);
          },
          seconds,
        );
      } catch (error) {
        throw new Error(`${String(error)}; last seen: ${JSON.stringify(last)?.slice(0, 3_000)}`, { cause: error });
      }
    },
    finished: (tag, seconds) =>
      line.when(tag, "the end", (release) => (release.finishedAt === undefined ? undefined : release), seconds),
    inRing: (tag, ring) =>
      line.when(tag, `ring ${ring}`, (release) => {
        const stages = Object.values(release.rollouts).flatMap((rollout) => rollout.stages);
        return stages.length > ring ? release : undefined;
      }),
    command: (release, kind, body) => fixture.stack.call("POST", `releases/${release.id}/${kind}`, body),
  };
  return line;
}
