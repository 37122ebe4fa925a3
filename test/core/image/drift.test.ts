// Drift: classes by path and setting.
import { describe, expect, test } from "vitest";
import { judgeDrift } from "../../../src/core/image/drift.ts";

const judge = (changed: string[], config: string[] = []) =>
  judgeDrift({ added: [], changed, removed: [], config, packages: [] });

describe("drift", () => {
  test.each([
    [[], "none"],
    [["var/azureml-app/azureml-models/forecast/2/model.pkl"], "model"],
    [["srv/weights.safetensors"], "model"],
    [["var/azureml-app/score.py", "srv/model.onnx"], "code"],
    [["home/app/main.js"], "code"],
    [["opt/conda/bin/python3.12", "app/score.py"], "dependencies"],
    [["usr/lib/python3/dist-packages/six.py"], "dependencies"],
    [["app/node_modules/x/index.js"], "dependencies"],
    [["etc/ssl/openssl.cnf", "opt/conda/lib/x.so"], "system"],
    [["var/lib/dpkg/status"], "system"],
  ])("of %j is %s", (paths, expected) => {
    expect(judge(paths).class).toBe(expected);
  });

  test("of settings outranks that of files, that of labels does not", () => {
    expect(judge(["app/model.pkl"], ["Env.A"]).class).toBe("config");
    expect(judge(["app/model.pkl"], ["Labels.version"]).class).toBe("model");
    expect(judge([], ["Labels.version"]).class).toBe("none");
  });
});

describe("many packages", () => {
  test("are named as far as a record has room, and the rest counted", () => {
    const packages = Array.from({ length: 203 }, (_, at) => {
      return { ecosystem: "dpkg", name: `p${at}`, from: "1", to: "2" } as const;
    });
    const drift = judgeDrift({ added: [], changed: [], removed: [], config: [], packages });
    expect(drift).toEqual({ class: "none", packages: packages.slice(0, 200), morePackages: 3 });
  });
});
