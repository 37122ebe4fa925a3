// Drift: classes by path, and packages by the records that installers leave.
import { describe, expect, test } from "vitest";
import { judgeDrift } from "../../../src/core/image/drift.ts";

const judge = (changed: string[], config: string[] = []) => judgeDrift({ added: [], changed, removed: [], config });

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

describe("packages", () => {
  const packages = (added: string[], removed: string[]) =>
    judgeDrift({ added, changed: [], removed, config: [] }).packages;

  test("of conda come and go by their records", () => {
    const added = ["opt/conda/conda-meta/numpy-2.0.0-py312_1.json", "opt/conda/conda-meta/lib-x-1.0-h5_0.json"];
    const removed = ["opt/conda/conda-meta/numpy-1.26.4-py312_0.json", "opt/conda/conda-meta/gone-3-0.json"];
    expect(packages(added, removed)).toEqual([
      { ecosystem: "conda", name: "gone", from: "3", to: null },
      { ecosystem: "conda", name: "lib-x", from: null, to: "1.0" },
      { ecosystem: "conda", name: "numpy", from: "1.26.4", to: "2.0.0" },
    ]);
  });

  test("rebuilt by conda show their builds", () => {
    expect(packages(["a/conda-meta/b-1.0-h1_1.json"], ["a/conda-meta/b-1.0-h1_0.json"])).toEqual([
      { ecosystem: "conda", name: "b", from: "1.0-h1_0", to: "1.0-h1_1" },
    ]);
  });

  test("of pip come from the names of their folders, each once", () => {
    const site = "usr/lib/python3.12/site-packages";
    const added = [`${site}/Foo_Bar-2.1.dist-info/METADATA`, `${site}/Foo_Bar-2.1.dist-info/RECORD`];
    expect(packages(added, [`${site}/foo.bar-2.0.dist-info`, `${site}/old-1.0-py3.12.egg-info/PKG-INFO`])).toEqual([
      { ecosystem: "pip", name: "foo-bar", from: "2.0", to: "2.1" },
      { ecosystem: "pip", name: "old", from: "1.0", to: null },
    ]);
  });

  test("that conda reports are not reported as pip's too", () => {
    const added = ["c/conda-meta/a-b-2-0.json", "c/lib/python3.12/site-packages/a_b-2.dist-info/METADATA"];
    expect(packages(added, [])).toEqual([{ ecosystem: "conda", name: "a-b", from: null, to: "2" }]);
  });

  test("whose record only changes are not reported", () => {
    expect(packages(["s/x-1.0.dist-info/NEW"], ["s/x-1.0.dist-info/OLD"])).toEqual([]);
  });
});
