// The scoring script inside the demo's images, as text: each version differs in a few lines, and version 3 is broken.

/** What a version does with the model's raw score; version 3 relies on a scaler that its model does not carry. */
const SCORE_LINES: Readonly<Record<number, string>> = {
  1: "return total;",
  2: "return Math.max(0, total);",
  3: "return Math.max(0, (total - model.scaler.mean) / model.scaler.deviation);",
};

/**
 * The script's source. It loads the model named by `AZUREML_MODEL_DIR`, scores one row, prints one JSON line
 * `{script, model, version, sha256, coefficients, score}` and then stays up until it is told to stop (exit code 0).
 */
export function renderScoreScript(version: number): string {
  return `// Loads the model, scores a row to prove it works, and stays up as a module would.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const SCRIPT_VERSION = ${version};

/** Reads the few opcodes of a pickle that a linear model is made of. */
function loadPickle(bytes) {
  const stack = [];
  const marks = [];
  const sinceMark = () => stack.splice(marks.pop());
  for (let at = 0; at < bytes.length; ) {
    const opcode = String.fromCharCode(bytes[at++]);
    if (opcode === "\\x80") at += 1;
    else if (opcode === "}") stack.push({});
    else if (opcode === "]") stack.push([]);
    else if (opcode === "(") marks.push(stack.length);
    else if (opcode === "K") stack.push(bytes[at++]);
    else if (opcode === "X") stack.push(bytes.toString("utf8", at + 4, (at += 4 + bytes.readUInt32LE(at))));
    else if (opcode === "G") stack.push(bytes.readDoubleBE((at += 8) - 8));
    else if (opcode === "e") {
      const items = sinceMark();
      stack.at(-1).push(...items);
    } else if (opcode === "u") {
      const items = sinceMark();
      for (let i = 0; i < items.length; i += 2) stack.at(-1)[items[i]] = items[i + 1];
    } else if (opcode === ".") return stack.pop();
    else throw new Error(\`unknown pickle opcode \${opcode} at \${at - 1}\`);
  }
  throw new Error("the pickle ends without a stop opcode");
}

function score(model, row) {
  const total = model.coefficients.reduce((sum, weight, index) => sum + weight * row[index % row.length], 0);
  ${SCORE_LINES[version] ?? SCORE_LINES[2]}
}

const alive = setInterval(() => {}, 60_000);
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => clearInterval(alive));

const bytes = readFileSync(join(import.meta.dirname, process.env.AZUREML_MODEL_DIR, "model.pkl"));
const model = loadPickle(bytes);
const sha256 = createHash("sha256").update(bytes).digest("hex");
const result = score(model, [1, 0.5, 0.25]);
console.log(
  JSON.stringify({
    script: SCRIPT_VERSION,
    model: model.name,
    version: model.version,
    sha256,
    coefficients: model.coefficients.length,
    score: result,
  }),
);
`;
}
