// The edge agent's decisions as plain data: restarts, retries, plans, patches, and statuses that only change as documented.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Deployment, ModuleDefinition } from "../../../local/edge-device/deployment.ts";
import { parseDeployment } from "../../../local/edge-device/deployment.ts";
import type { ModuleState, RestartPolicy } from "../../../local/edge-device/module-lifecycle.ts";
import {
  CREATED,
  TRANSITIONS,
  exitModule,
  failStart,
  planRetryDelay,
  startModule,
  stopModule,
} from "../../../local/edge-device/module-lifecycle.ts";
import { planDeployment } from "../../../local/edge-device/plan.ts";
import { diffReported, restateReported } from "../../../local/edge-device/reported.ts";
import { count } from "../../counts.ts";

const POLICIES: readonly RestartPolicy[] = ["never", "on-failure", "on-unhealthy", "always"];

describe("a module's life", () => {
  test("backs off 10 s·2ⁿ capped at 300 s, 20 times", () => {
    let state = startModule(CREATED, 0);
    const delays: (number | undefined)[] = [];
    for (let restart = 0; restart <= 20; restart++) {
      const decision = exitModule(state, 1, "always", 0);
      delays.push(decision.restartAfterMs);
      if (decision.restartAfterMs === undefined) expect(decision.state.runtimeStatus).toBe("failed");
      state = startModule(decision.state, 0);
    }
    const seconds = delays.map((delay) => (delay === undefined ? undefined : delay / 1000));
    expect(seconds).toEqual([10, 20, 40, 80, 160, ...Array.from({ length: 15 }, () => 300), undefined]);
  });

  test("forgets its restarts after running for ten minutes", () => {
    const crashed = exitModule(
      startModule({ ...CREATED, restartCount: 7, runtimeStatus: "stopped" }, 0),
      1,
      "always",
      600_000,
    );
    expect(crashed).toMatchObject({ restartAfterMs: 10_000, state: { restartCount: 0 } });
  });

  test("only ever changes as the table of transitions says", () => {
    const event = fc.oneof(
      fc.record({
        kind: fc.constant("exit" as const),
        code: fc.integer({ min: 0, max: 2 }),
        policy: fc.constantFrom(...POLICIES),
      }),
      fc.record({ kind: fc.constantFrom("start" as const, "stop" as const, "failStart" as const) }),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(event, fc.integer({ min: 0, max: 700_000 })), { maxLength: 60 }), (events) => {
        let state: ModuleState = CREATED;
        let now = 0;
        for (const [what, elapsed] of events) {
          now += elapsed;
          const next = apply(state, what, now);
          const allowed = [state.runtimeStatus, ...TRANSITIONS[state.runtimeStatus]];
          expect(allowed).toContain(next.runtimeStatus);
          expect(next.restartCount).toBeLessThanOrEqual(20);
          if (next.runtimeStatus === "running") expect(next.lastStartMs).toBeDefined();
          state = next;
        }
      }),
      { seed: 20_261_120, numRuns: count("moduleLives") },
    );
  });

  test("failed plans are tried again after 10 s·2ⁿ, 20 times", () => {
    expect([0, 1, 2, 19, 20].map(planRetryDelay)).toEqual([10_000, 20_000, 40_000, 10_000 * 2 ** 19, undefined]);
  });
});

type Event = { kind: "exit"; code: number; policy: RestartPolicy } | { kind: "start" | "stop" | "failStart" };

/** What may happen to a module in its state; events that cannot happen in it change nothing. */
function apply(state: ModuleState, event: Event, now: number): ModuleState {
  const running = state.runtimeStatus === "running";
  switch (event.kind) {
    case "exit":
      return running ? exitModule(state, event.code, event.policy, now).state : state;
    case "start":
      return running ? state : startModule(state, now);
    case "stop":
      return stopModule(state, 143, now);
    default:
      return running ? state : failStart(state, "cannot");
  }
}

function moduleNamed(name: string, change: Partial<ModuleDefinition> = {}): ModuleDefinition {
  const usual = { version: "1", status: "running", restartPolicy: "always", imagePullPolicy: "on-create" } as const;
  return { name, ...usual, startupOrder: 0, image: "i", createOptions: "", options: {}, env: {}, ...change };
}

describe("plans", () => {
  const deployment = (...modules: ModuleDefinition[]): Deployment => ({
    schemaVersion: "1.1",
    modules,
    systemModules: {},
    credentials: [],
  });
  const running = (definition: ModuleDefinition): [string, { definition: ModuleDefinition; state: ModuleState }] => [
    definition.name,
    { definition, state: startModule(CREATED, 0) },
  ];

  test("remove first, then replace and create, the new image before the old one stops", () => {
    const current = new Map([
      running(moduleNamed("old")),
      running(moduleNamed("kept")),
      running(moduleNamed("changed")),
    ]);
    const plan = planDeployment(
      current,
      deployment(
        moduleNamed("changed", { image: "j" }),
        moduleNamed("kept"),
        moduleNamed("new", { status: "stopped" }),
      ),
    );
    expect(plan.map(({ module, steps }) => [module, ...steps])).toEqual([
      ["old", "stop", "remove"],
      ["changed", "pull", "stop", "remove", "create", "start"],
      ["new", "pull", "create"],
    ]);
  });

  test.each([
    ["another restart policy", { restartPolicy: "never" as const }, []],
    ["another startup order", { startupOrder: 3 }, []],
    ["another version", { version: "2" }, ["pull", "stop", "remove", "create", "start"]],
    ["another environment", { env: { A: "1" } }, ["pull", "stop", "remove", "create", "start"]],
    ["stopped", { status: "stopped" as const }, ["stop"]],
  ])("%s plans %j", (_name, change, steps) => {
    const plan = planDeployment(new Map([running(moduleNamed("m"))]), deployment(moduleNamed("m", change)));
    expect(plan.flatMap((group) => group.steps)).toEqual(steps);
  });

  test("leave a module that ended to its restart policy", () => {
    const definition = moduleNamed("m");
    const { state } = exitModule(startModule(CREATED, 0), 1, "never", 0);
    expect(planDeployment(new Map([["m", { definition, state }]]), deployment(definition))).toEqual([]);
  });
});

describe("desired properties", () => {
  test("are read in startup order, with environment, options and credentials", () => {
    const settings = { image: "a", createOptions: '{"Env":["A=1"],', createOptions01: '"Cmd":"x"}' };
    const module = { type: "docker", status: "running", restartPolicy: "always", settings };
    const parsed = parseDeployment({
      $version: 3,
      schemaVersion: "1.1",
      runtime: {
        type: "docker",
        settings: { registryCredentials: { acr: { address: "h", username: "u", password: "p" } } },
      },
      modules: { late: module, early: { ...module, startupOrder: 1, env: { N: { value: 7 } } } },
    }) as Deployment;
    expect(parsed.modules.map(({ name }) => name)).toEqual(["early", "late"]);
    expect(parsed.modules[0]).toMatchObject({ env: { N: "7" }, options: { Env: ["A=1"], Cmd: ["x"] } });
    expect(parsed.credentials).toEqual([{ address: "h", username: "u", password: "p" }]);
  });
});

describe("reported patches", () => {
  test("applied one after another give the last state, and restated ones give it from anything before", () => {
    const state = fc.dictionary(
      fc.constantFrom("a", "b", "c"),
      fc.oneof(fc.integer(), fc.string(), fc.dictionary(fc.constantFrom("x", "y"), fc.integer())),
    );
    fc.assert(
      fc.property(fc.array(state, { minLength: 1 }), (states) => {
        let twin: Record<string, unknown> = {};
        let before: Record<string, unknown> = {};
        for (const after of states) {
          const patch = diffReported(before, after);
          const restated = restateReported(before, after);
          expect(mergePatch(before, restated)).toEqual(after);
          expect(mergePatch({}, restated)).toEqual(after);
          if (patch === undefined) expect(after).toEqual(before);
          else twin = mergePatch(twin, patch) as Record<string, unknown>;
          before = after;
        }
        expect(twin).toEqual(before);
      }),
      { seed: 20_261_120, numRuns: count("moduleLives") },
    );
  });
});

/** RFC 7396. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null) return patch;
  const result: Record<string, unknown> = typeof target === "object" && target !== null ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = mergePatch(result[key], value);
  }
  return result;
}
