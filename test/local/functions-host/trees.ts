// Random orchestrations as data: generated from a seed, run by apps/trees.ts, with the result they must have.
import * as fc from "fast-check";

/** Something that becomes one Durable task. */
export type TaskNode =
  | { readonly kind: "activity"; readonly key: string; readonly value: number }
  | {
      readonly kind: "retried";
      readonly key: string;
      readonly failures: number;
      readonly max: number;
      readonly value: number;
    }
  | { readonly kind: "sub"; readonly key: string; readonly steps: readonly Step[]; readonly retried: boolean }
  | { readonly kind: "timer"; readonly ms: number }
  | { readonly kind: "event"; readonly name: string; readonly value: number }
  | { readonly kind: "entity"; readonly entity: string; readonly value: number }
  | { readonly kind: "all"; readonly tasks: readonly TaskNode[] }
  /** The winner is `quick`; the others never end by themselves. */
  | {
      readonly kind: "any";
      readonly before: readonly Idle[];
      readonly quick: TaskNode;
      readonly after: readonly Idle[];
    };

/** A task that does not end within a test: a timer that is cancelled afterwards, or an event that never comes. */
export type Idle = { readonly kind: "idleTimer" } | { readonly kind: "idleEvent"; readonly name: string };

/** What an orchestrator does, one after the other. */
export type Step =
  | { readonly kind: "await"; readonly task: TaskNode }
  /** Awaits an activity that fails and others beside it, and catches the failure. */
  | { readonly kind: "catch"; readonly key: string; readonly beside: readonly TaskNode[]; readonly retried: boolean }
  | { readonly kind: "signal"; readonly entity: string; readonly value: number }
  | { readonly kind: "status"; readonly value: number };

/** A whole run: phases are executed in turn, each but the first after a continue-as-new. */
export interface TreePlan {
  readonly phases: readonly (readonly Step[])[];
}

/** How to generate plans. */
export interface TreeOptions {
  /** Whether activities may fail by attempt, which a re-execution after a crash would upset. */
  readonly countAttempts: boolean;
  /** Longest timer, ms of the host's clock. */
  readonly maxTimerMs: number;
}

/** An arbitrary plan; keys, event names and entities are made unique by numbering. */
export function treePlans({ countAttempts, maxTimerMs }: TreeOptions): fc.Arbitrary<TreePlan> {
  const value = fc.integer({ min: -1_000, max: 1_000 });
  const idle: fc.Arbitrary<Idle> = fc.constantFrom<Idle>({ kind: "idleTimer" }, { kind: "idleEvent", name: "" });
  const activity = fc.record({ kind: fc.constant("activity" as const), key: fc.constant(""), value });
  const attempts = countAttempts ? fc.integer({ min: 0, max: 3 }) : fc.constant(0);

  const { steps } = fc.letrec<{ task: TaskNode; leaf: TaskNode; step: Step; steps: Step[] }>((tie) => ({
    leaf: fc.oneof(
      { weight: 5, arbitrary: activity },
      {
        weight: 2,
        arbitrary: attempts.chain((failures) =>
          fc.record({
            kind: fc.constant("retried" as const),
            key: fc.constant(""),
            failures: fc.constant(failures),
            max: fc.constant(failures + 1),
            value,
          }),
        ),
      },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant("timer" as const), ms: fc.integer({ min: 0, max: maxTimerMs }) }),
      },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("event" as const), name: fc.constant(""), value }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("entity" as const), entity: fc.constant(""), value }) },
    ),
    task: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      { weight: 6, arbitrary: tie("leaf") },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constant("all" as const),
          tasks: fc.array(tie("task"), { minLength: 1, maxLength: 4 }),
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constant("any" as const),
          before: fc.array(idle, { maxLength: 2 }),
          quick: tie("task"),
          after: fc.array(idle, { maxLength: 2 }),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant("sub" as const),
          key: fc.constant(""),
          steps: tie("steps"),
          retried: fc.boolean(),
        }),
      },
    ),
    step: fc.oneof(
      { weight: 7, arbitrary: fc.record({ kind: fc.constant("await" as const), task: tie("task") }) },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant("catch" as const),
          key: fc.constant(""),
          beside: fc.array(activity, { maxLength: 2 }),
          retried: fc.boolean(),
        }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("signal" as const), entity: fc.constant(""), value }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("status" as const), value }) },
    ),
    steps: fc.array(tie("step"), { minLength: 1, maxLength: 4 }),
  }));
  return fc.array(steps, { minLength: 1, maxLength: 3 }).map((phases) => number({ phases }));
}

/** Gives every key, event name and entity of a plan a number of its own; events only come to the outermost. */
function number(plan: TreePlan): TreePlan {
  let next = 0;
  const isEvent = (value: unknown): value is { value: number } => (value as TaskNode | null)?.kind === "event";
  const withoutEvents = (steps: unknown): unknown =>
    JSON.parse(JSON.stringify(steps), (_, value: unknown) =>
      isEvent(value) ? { ...value, kind: "activity", key: "" } : value,
    );
  const calm = JSON.parse(JSON.stringify(plan), (_, value: unknown) =>
    (value as TaskNode | null)?.kind === "sub"
      ? { ...(value as object), steps: withoutEvents((value as { steps: unknown }).steps) }
      : value,
  ) as unknown;
  return JSON.parse(JSON.stringify(calm), (name, value: unknown) =>
    ["key", "name", "entity"].includes(name) ? `${name}${next++}` : value,
  ) as TreePlan;
}

/** What the orchestration must return: the results of each phase's steps. */
export function expectedOf({ phases }: TreePlan): unknown[] {
  return phases.map((steps) => steps.flatMap(expectedOfStep));
}

function expectedOfStep(step: Step): unknown[] {
  if (step.kind === "await") return [expectedOfTask(step.task)];
  return step.kind === "catch" ? [`caught ${step.key}`] : [];
}

function expectedOfTask(node: TaskNode): unknown {
  switch (node.kind) {
    case "timer":
      return "timer";
    case "all":
      return node.tasks.map(expectedOfTask);
    case "any":
      return { winner: node.before.length, result: expectedOfTask(node.quick) };
    case "sub":
      return node.steps.flatMap(expectedOfStep);
    default:
      return node.value;
  }
}

type Node = TaskNode | Step;

/** Every node of one kind within a plan or a part of it. */
export function collect<Kind extends Node["kind"]>(part: unknown, kind: Kind): Extract<Node, { kind: Kind }>[] {
  const found: Extract<Node, { kind: Kind }>[] = [];
  JSON.stringify(part, (_, value: unknown) => {
    if ((value as Node | null)?.kind === kind) found.push(value as Extract<Node, { kind: Kind }>);
    return value;
  });
  return found;
}

/** How often each activity key of a plan is executed when nothing crashes. */
export function executionsOf(plan: TreePlan): Record<string, number> {
  return Object.fromEntries([
    ...collect(plan, "activity").map(({ key }) => [key, 1] as const),
    ...collect(plan, "retried").map(({ key, failures }) => [key, failures + 1] as const),
    ...collect(plan, "catch").map(({ key, retried }) => [key, retried ? 2 : 1] as const),
  ]);
}
