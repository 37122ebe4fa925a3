// `lighter up`: keeps the embedded stack running, with everything a developer needs to push at it.
import type { Command } from "commander";
import { positiveNumber, wholeNumber } from "../arguments.ts";
import { EXIT } from "../exit.ts";
import { print } from "../image-command.ts";
import { startLocalProcess } from "../local-process.ts";

interface UpOptions {
  readonly folder?: string;
  readonly devices: number;
  readonly timeScale: number;
  readonly functionsPort?: number;
  readonly registryPort?: number;
  readonly hubPort?: number;
  readonly json?: boolean;
}

interface UpEvent {
  readonly type: "up" | "failed";
  readonly message?: string;
  readonly api: string;
  readonly key: string;
  readonly registry: string;
  readonly repository: string;
  readonly product: string;
  readonly hubConnectionString: string;
  readonly devices: readonly string[];
  readonly folder: string;
}

const parsePort = wholeNumber(1, 65_535);

/** Adds the command. */
export function addUpCommand(program: Command): void {
  program
    .command("up")
    .description("run the whole backend here: registry, storage, hub, devices and functions, until Ctrl-C")
    .option("--folder <folder>", "keep data here (default: a temporary folder, removed at the end)")
    .option("--devices <n>", "devices that really pull and run images", wholeNumber(0, 100), 3)
    .option("--time-scale <n>", "seconds of the stack's clock per second", positiveNumber, 1)
    .option("--functions-port <port>", "port of the HTTP API (default: a free one)", parsePort)
    .option("--registry-port <port>", "port of the registry (default: a free one)", parsePort)
    .option("--hub-port <port>", "port of the hub (default: a free one)", parsePort)
    .option("--json", "print one JSON object when it is up")
    .action(async (options: UpOptions) => {
      const given = [
        ["--folder", options.folder],
        ["--devices", options.devices],
        ["--time-scale", options.timeScale],
        ["--functions-port", options.functionsPort],
        ["--registry-port", options.registryPort],
        ["--hub-port", options.hubPort],
      ].flatMap(([name, value]) => (value === undefined ? [] : [String(name), String(value)]));
      const child = startLocalProcess(["up", ...given]);
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => child.stop());
      for await (const event of child.events) {
        const facts = event as UpEvent;
        if (facts.type === "failed") {
          process.stderr.write(`lighter: ${facts.message}\n`);
          process.exitCode = EXIT.failed;
          break;
        }
        await print(facts, options.json, (paint) => [
          ["API", paint.bold(facts.api)],
          ["key", facts.key],
          ["registry", `${facts.registry}  push ${facts.registry}/${facts.repository}:<tag>`],
          ["devices", facts.devices.join(", ")],
          ["hub", facts.hubConnectionString],
          ["folder", facts.folder],
          [
            "first",
            `export LIGHTER_API=${facts.api} LIGHTER_KEY=${facts.key}\nnpx lighter baseline ${facts.product} --absent`,
          ],
        ]);
      }
      const code = await child.exited;
      if (code !== 0) process.exitCode = EXIT.failed;
    });
}
