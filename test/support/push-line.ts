// Ten pushes of one product as a team would make them: models, code, a package, and builds that change nothing.
import type { Repository } from "../../src/ports/registry.ts";
import type { LayerFacts } from "./layers.ts";
import { seededBytes } from "./seeded-bytes.ts";
import { pushTestImage } from "./test-image.ts";

/** What a push brings: the version of each part, counted from 1. */
interface PushFacts {
  readonly model: number;
  readonly code: number;
  readonly numpy: string;
  readonly threads: number;
}

/** The line: tag 4 repeats 3, so that only its build times are new; 6 brings a package, 9 a setting beside the model. */
const LINE: readonly PushFacts[] = [
  { model: 1, code: 1, numpy: "1.26.4", threads: 2 },
  { model: 2, code: 1, numpy: "1.26.4", threads: 2 },
  { model: 3, code: 1, numpy: "1.26.4", threads: 2 },
  { model: 3, code: 1, numpy: "1.26.4", threads: 2 },
  { model: 4, code: 2, numpy: "1.26.4", threads: 2 },
  { model: 4, code: 2, numpy: "2.0.1", threads: 2 },
  { model: 5, code: 2, numpy: "2.0.1", threads: 2 },
  { model: 6, code: 2, numpy: "2.0.1", threads: 2 },
  { model: 7, code: 2, numpy: "2.0.1", threads: 4 },
  { model: 8, code: 3, numpy: "2.0.1", threads: 4 },
];

/** The tags of the line, oldest first. */
export const LINE_TAGS: readonly string[] = LINE.map((_, at) => String(at + 1));

const MODEL_BYTES = 400_000;
const SITE = "opt/conda/lib/python3.12/site-packages";
const START = Date.UTC(2026, 0, 5, 8) / 1000;
const WEEK = 7 * 24 * 3600;

/** Pushes the line; the model lies below dependencies that every build creates anew, as Azure ML does. */
export async function pushLine(repository: Repository): Promise<void> {
  for (const [at, facts] of LINE.entries()) {
    const mtime = START + at * WEEK;
    await pushTestImage(repository, LINE_TAGS[at] ?? "", {
      layers: [BASE, modelLayer(facts, mtime), dependencyLayer(facts, mtime)],
      config: { Env: [`THREADS=${facts.threads}`], Cmd: ["python", "score.py"] },
      created: new Date(mtime * 1000).toISOString(),
    });
  }
}

const BASE: LayerFacts = { "usr/": {}, "usr/bin/": {}, "usr/bin/python": { content: seededBytes("python", 500_000) } };

function modelLayer({ model, code }: PushFacts, mtime: number): LayerFacts {
  return {
    "var/": { mtime },
    "var/azureml-app/": { mtime },
    "var/azureml-app/model.pkl": { content: seededBytes(`model ${model}`, MODEL_BYTES), mtime },
    "var/azureml-app/score.py": { content: `# revision ${code}\nprint("scores")\n`, mtime },
  };
}

function dependencyLayer({ numpy }: PushFacts, mtime: number): LayerFacts {
  const library = (name: string, seed: string, bytes: number): LayerFacts => ({
    [`${SITE}/${name}`]: { content: seededBytes(seed, bytes), mtime: mtime + 60 },
  });
  return {
    "opt/": { mtime },
    [`opt/conda/conda-meta/numpy-${numpy}-py312_0.json`]: {
      content: JSON.stringify({ name: "numpy", version: numpy, build: "py312_0" }),
      mtime,
    },
    "opt/conda/conda-meta/history": { content: `==> ${mtime} <==\n`, mtime },
    ...library("numpy/core.so", `numpy ${numpy}`, 300_000),
    ...Object.assign(
      {},
      ...Array.from({ length: 40 }, (_, at) => library(`sklearn/part${at}.so`, `part ${at}`, 50_000)),
    ),
  };
}
