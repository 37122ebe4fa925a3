// What the service takes as the content of a deployment, and what it refuses, by name of the property.
import { describe, expect, test } from "vitest";
import { parseDeploymentContent } from "../../../local/iot-hub/deployment-content.ts";
import { mergeDeployments } from "../../../local/iot-hub/deployment-merge.ts";
import { baseContent, layerContent, moduleOf } from "./sdk.ts";

type Sections = Record<string, Record<string, unknown>>;

const layered = (sections: Sections): unknown => ({ modulesContent: { $edgeAgent: {}, ...sections } });
const agent = (key: string, value: unknown): unknown =>
  layered({ $edgeAgent: { [`properties.desired.${key}`]: value } });
const hub = (key: string, value: unknown): unknown => layered({ $edgeHub: { [`properties.desired.${key}`]: value } });
const withModule = (patch: object): unknown => agent("modules.m", { ...moduleOf("r/m:1"), ...patch });

function base(change: (sections: Sections) => void): unknown {
  const content = structuredClone(baseContent({ m: moduleOf("r/m:1") })) as { modulesContent: Sections };
  change(content.modulesContent);
  return content;
}

const desired = (sections: Sections, moduleId: string): Record<string, unknown> =>
  sections[moduleId]?.["properties.desired"] as Record<string, unknown>;

describe("a deployment's content", () => {
  test.each<[string, unknown]>([
    ["a base", baseContent({ m: moduleOf("r/m:1") })],
    ["a layer of one module", layerContent("m", "r/m:1")],
    ["a single setting of a module", agent("modules.m.env.LEVEL", { value: "debug" })],
    [
      "a route",
      hub("routes.r", 'FROM /messages/modules/m/outputs/o WHERE a > 1 INTO BrokeredEndpoint("/modules/n/inputs/i")'),
    ],
    [
      "a route with priority",
      hub("routes.r", { route: "FROM /messages/* INTO $upstream", priority: 9, timeToLiveSecs: 60 }),
    ],
    [
      "registry credentials",
      agent("runtime.settings.registryCredentials.acr", { address: "r.azurecr.io", username: "u", password: "p" }),
    ],
    ["a module twin of its own", layered({ m: { "properties.desired.threshold": 5 } })],
    [
      "createOptions in chunks",
      withModule({ settings: { image: "i", createOptions: "x".repeat(512), createOptions01: "y" } }),
    ],
    [
      "50 modules",
      baseContent(Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`m${index}`, moduleOf("i")]))),
    ],
  ])("may be %s", (_, content) => {
    expect(() => parseDeploymentContent(content)).not.toThrow();
  });

  test.each<[string, unknown, string]>([
    ["nothing", undefined, "content is missing"],
    ["without modulesContent", {}, "modulesContent is missing"],
    ["for devices", { deviceContent: {}, modulesContent: {} }, "only modulesContent"],
    ["without $edgeAgent", { modulesContent: { $edgeHub: {} } }, "must contain $edgeAgent"],
    ["with a foreign key", layered({ $edgeAgent: { modules: {} } }), "must be properties.desired or begin with"],
    [
      "a base with dotted keys",
      base((sections) => Object.assign(sections["$edgeAgent"]!, { "properties.desired.modules.n": moduleOf("i") })),
      "dotted keys are for layered deployments",
    ],
    [
      "a layer with a whole $edgeHub",
      layered({ $edgeHub: { "properties.desired": {} } }),
      "cannot set properties.desired as a whole",
    ],
    [
      "of schema 1.2 for the agent",
      base((sections) => Object.assign(desired(sections, "$edgeAgent"), { schemaVersion: "1.2" })),
      "schemaVersion",
    ],
    [
      "of schema 2.0 for the hub",
      base((sections) => Object.assign(desired(sections, "$edgeHub"), { schemaVersion: "2.0" })),
      "schemaVersion",
    ],
    ["without a runtime", base((sections) => delete desired(sections, "$edgeAgent")["runtime"]), "runtime"],
    [
      "without system modules",
      base((sections) => delete desired(sections, "$edgeAgent")["systemModules"]),
      "systemModules",
    ],
    ["a module without a type", withModule({ type: undefined }), "type"],
    ["a module of an unknown status", withModule({ status: "paused" }), "status"],
    ["a module of an unknown restart policy", withModule({ restartPolicy: "sometimes" }), "restartPolicy"],
    ["a module of an unknown pull policy", withModule({ imagePullPolicy: "always" }), "imagePullPolicy"],
    ["a module without settings", withModule({ settings: undefined }), "settings"],
    ["a module without an image", withModule({ settings: { createOptions: "" } }), "image"],
    [
      "a chunk of 513 characters",
      withModule({ settings: { image: "i", createOptions: "x".repeat(513) } }),
      "chunks of 512",
    ],
    ["createOptions as an object", withModule({ settings: { image: "i", createOptions: {} } }), "createOptions"],
    ["a chunk of a wrong name", withModule({ settings: { image: "i", createOptions1: "x" } }), "createOptions1 is not"],
    ["env without value", withModule({ env: { A: "b" } }), "env"],
    ["a module of a wrong name", agent("modules.m m", moduleOf("i")), "name is missing or not valid"],
    ["an empty segment", agent("modules..m", moduleOf("i")), "empty segment"],
    ["a route that is none", hub("routes.r", "/messages/* INTO $upstream"), "FROM <source>"],
    ["a route of priority 10", hub("routes.r", { route: "FROM /messages/* INTO $upstream", priority: 10 }), "routes"],
    [
      "credentials without an address",
      agent("runtime.settings.registryCredentials.acr", { username: "u", password: "p" }),
      "address",
    ],
    [
      "51 modules",
      baseContent(Object.fromEntries(Array.from({ length: 51 }, (_, index) => [`m${index}`, moduleOf("i")]))),
      "51 modules, at most 50",
    ],
    [
      "more than 32 KB for a module",
      layered({
        m: {
          "properties.desired.text": Object.fromEntries(
            Array.from({ length: 9 }, (_, index) => [`k${index}`, "x".repeat(4_000)]),
          ),
        },
      }),
      "larger than 32768 bytes",
    ],
  ])("may not be %s", (_, content, reason) => {
    expect(() => parseDeploymentContent(content)).toThrow(reason);
    expect(() => parseDeploymentContent(content)).toThrow(
      expect.objectContaining({ status: 400, errorCode: "InvalidConfigurationContent" }) as Error,
    );
  });

  test("merges later over earlier: whole sections, whole modules, single settings", () => {
    const merged = mergeDeployments(
      [
        baseContent({ m: moduleOf("r/m:1"), n: moduleOf("r/n:1") }),
        layerContent("m", "r/m:2"),
        agent("modules.m.env.A", { value: "1" }),
        hub("routes.r", "FROM /messages/* INTO $upstream"),
        layered({ x: { "properties.desired.a.b": 1 } }),
        layered({ x: { "properties.desired.a.c": 2 } }),
      ].map(parseDeploymentContent),
    );
    expect([...(merged?.keys() ?? [])].toSorted()).toEqual(["$edgeAgent", "$edgeHub", "m", "n", "x"]);
    expect(merged?.get("$edgeAgent")?.["modules"]).toEqual({
      m: { ...moduleOf("r/m:2"), env: { A: { value: "1" } } },
      n: moduleOf("r/n:1"),
    });
    expect(merged?.get("$edgeHub")?.["routes"]).toEqual({
      upstream: "FROM /messages/* INTO $upstream",
      r: "FROM /messages/* INTO $upstream",
    });
    expect(merged?.get("x")).toEqual({ a: { b: 1, c: 2 } });
  });

  test("is not merged beyond the 32 KB of a twin", () => {
    const layer = (name: string): unknown =>
      agent(`modules.${name}`, {
        ...moduleOf("i"),
        env: Object.fromEntries(Array.from({ length: 6 }, (_, index) => [`k${index}`, { value: "x".repeat(3_500) }])),
      });
    expect(mergeDeployments([baseContent(), layer("a")].map(parseDeploymentContent))).toBeDefined();
    expect(mergeDeployments([baseContent(), layer("a"), layer("b")].map(parseDeploymentContent))).toBeUndefined();
  });
});
