// Seeded moments at which a functions host is killed while it carries a release: by the clock, by step, by hub call.
import { setTimeout as delay } from "node:timers/promises";
import * as fc from "fast-check";
import type { ReleaseView } from "../../src/core/release/view.ts";
import type { StackFixture } from "./stack-fixture.ts";

/** What a kill is aimed at; `share` (0 to 1) says how far along it, `afterMs` (wall time) how long after it was reached. */
interface Moment {
  readonly aim: "push" | "step" | "hub-call" | "time";
  readonly share: number;
  readonly afterMs: number;
}

/** One release of a schedule, and the kills that it has to survive. */
export interface Round {
  /** Whether the image crashes, so that the release is rolled back. */
  readonly crashes: boolean;
  readonly moments: readonly Moment[];
}

/** What an undisturbed release of each kind takes; moments are drawn over it. */
export interface Span {
  readonly wallMs: number;
  readonly hubCalls: number;
}

/** A release under way: where it started, and what it is expected to take. */
interface Underway {
  readonly tag: string;
  readonly crashes: boolean;
  readonly startedAtMs: number;
  readonly span: Span;
}

/** From the push's first request to its last, roughly, and the webhook's delivery after it. */
const PUSH_MS = 120;

/** A release that has not come this far in as much wall time is stuck. */
const GIVE_UP_MS = 60_000;

const STEPS = ["prepare", "index", "plan", "rebase", "verify", "rollout"];
const CRASH_STEPS = [...STEPS, "rollback", "rollback"];

/** Whole numbers without bias, since fast-check's prefer small values and its doubles crowd around 0. */
const even = (max: number): fc.Arbitrary<number> => fc.noBias(fc.integer({ min: 0, max }));

/** Taken in turns, so that few kills are as varied as many; where exactly they fall is drawn. */
const AIMS = ["hub-call", "step", "push", "hub-call", "time"] as const;

const places: fc.Arbitrary<Omit<Moment, "aim">> = fc.record({
  share: even(999).map((thousandths) => thousandths / 1_000),
  afterMs: even(60),
});

/** A schedule with `kills` kills in all: one or two to a release, every third release one that crashes. */
export function drawRounds(seed: number, kills: number): Round[] {
  const drawn = fc.sample(places, { seed, numRuns: kills }).map((place, index): Moment => {
    const aim = AIMS[index % AIMS.length] ?? "time";
    return { ...place, aim };
  });
  const twice = fc.sample(fc.boolean(), { seed, numRuns: kills });
  const rounds: Round[] = [];
  for (let next = 0; next < drawn.length;) {
    const taken = drawn.slice(next, next + (twice[rounds.length] === true ? 2 : 1));
    rounds.push({ crashes: rounds.length % 3 === 1, moments: taken });
    next += taken.length;
  }
  return rounds;
}

/** The number of requests that the hub has had since its counters were reset. */
export function countHubCalls({ stack }: StackFixture): number {
  return Object.values(stack.hub.calls()).reduce((sum, calls) => sum + calls, 0);
}

/** Resolves at the moment, or when the release is over, which leaves nothing to wait for; says which. */
export async function reachMoment(fixture: StackFixture, moment: Moment, underway: Underway): Promise<string> {
  const { aim, share, afterMs } = moment;
  const look = async (): Promise<ReleaseView | undefined> =>
    (await fixture.releases()).find(({ tag }) => tag === underway.tag);
  const over = async (): Promise<boolean> => (await look())?.finishedAt !== undefined;
  const elapsedMs = (): number => performance.now() - underway.startedAtMs;

  if (aim === "push") {
    await delay(Math.max(0, share * PUSH_MS - elapsedMs()));
    return "push";
  }
  const steps = underway.crashes ? CRASH_STEPS : STEPS;
  const step = steps[Math.floor(share * steps.length)] ?? "prepare";
  const calls = Math.ceil(share * underway.span.hubCalls);
  const reached = async (): Promise<string | undefined> => {
    if (aim === "time") return elapsedMs() >= share * underway.span.wallMs ? "time" : undefined;
    if (aim === "hub-call") return countHubCalls(fixture) >= calls ? `hub call ${calls}` : undefined;
    return (await look())?.steps[step] === undefined ? undefined : `step ${step}`;
  };
  for (let looks = 1; ; looks++) {
    const what = await reached();
    if (what !== undefined) {
      await delay(afterMs);
      return what;
    }
    if (looks % 50 === 0 && (await over())) return "over";
    if (elapsedMs() > GIVE_UP_MS) throw new Error(`${aim} ${share} never came: ${JSON.stringify(await look())}`);
    await delay(2);
  }
}
