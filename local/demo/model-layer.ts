// The small layer that really changes: a model of 6 KB and its scoring script, below the dependencies.
import { directoriesOf } from "./base-layer.ts";
import type { LayerEntry } from "./layer.ts";
import { renderScoreScript } from "./score-script.ts";
import { createSeededBytes } from "./seeded-bytes.ts";

/** Where Azure ML images keep the scoring script and, below it, the models. */
export const APP_FOLDER = "var/azureml-app";

/** The folder of a model version relative to the app folder, as `AZUREML_MODEL_DIR` names it. */
export function modelFolder(version: number): string {
  return `azureml-models/demand-forecast/${version}`;
}

/** Nine bytes each in the pickle: with its names the model is 6 KB. */
const COEFFICIENTS = 676;

/**
 * The layer's entries; every file and parent folder carries `mtime`, in seconds, the time of the version's build.
 * `folder` is that of the model, relative to the app folder.
 */
export function planModelLayer(
  seed: number,
  version: number,
  mtime: number,
  folder: string = modelFolder(version),
): LayerEntry[] {
  const contents: readonly (readonly [string, Uint8Array])[] = [
    [`${APP_FOLDER}/${folder}/model.pkl`, encodeModel(seed, version)],
    [`${APP_FOLDER}/score.mjs`, Buffer.from(renderScoreScript(version))],
  ];
  const paths = contents.map(([path]) => path);
  return [
    ...directoriesOf(paths, mtime),
    ...contents.map(([path, content]): LayerEntry => ({ path, type: "file", mode: 0o644, mtime, content })),
  ];
}

/**
 * A linear model as a real Python pickle: `{"name": …, "version": n, "coefficients": [float, …]}`.
 *
 * Protocol 2 of CPython's pickletools.py; coefficients keep 12 bits of fraction, so that the file compresses as far as
 * a trained scikit-learn model does.
 */
function encodeModel(seed: number, version: number): Buffer {
  const random = createSeededBytes(seed, `model/${version}`, COEFFICIENTS * 4);
  const floats = Array.from({ length: COEFFICIENTS }, (_, index) => {
    const opcode = Buffer.alloc(9, "G");
    opcode.writeDoubleBE((random.readInt32LE(index * 4) >> 19) / 2 ** 12, 1);
    return opcode;
  });
  return Buffer.concat([
    Buffer.from([0x80, 2]),
    Buffer.from("}("),
    encodeText("name"),
    encodeText("demand-forecast"),
    encodeText("version"),
    Buffer.from(["K".charCodeAt(0), version]),
    encodeText("coefficients"),
    Buffer.from("]("),
    ...floats,
    Buffer.from("eu."),
  ]);
}

function encodeText(text: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(Buffer.byteLength(text));
  return Buffer.concat([Buffer.from("X"), length, Buffer.from(text)]);
}
