// `lighter demo`: plays the main job on the embedded stack and prints what it saved.
import type { Command } from "commander";
import { positiveNumber, wholeNumber } from "../arguments.ts";
import { EXIT } from "../exit.ts";
import { formatBytes } from "../format.ts";
import { startLocalProcess } from "../local-process.ts";
import { createPaint } from "../paint.ts";
import { printDemoResult, type DemoResult } from "../demo-result.ts";

interface DemoOptions {
  readonly once?: boolean;
  readonly seed: number;
  readonly timeScale: number;
  readonly json?: boolean;
}

type DemoEvent =
  | { readonly type: "step"; readonly step: string; readonly state: "started" | "finished"; readonly detail?: string }
  | { readonly type: "progress"; readonly step: string; readonly done: number; readonly total: number }
  | { readonly type: "waiting"; readonly release: string; readonly state: string; readonly waitsFor: string }
  | { readonly type: "result"; readonly result: DemoResult }
  | { readonly type: "failed"; readonly message: string };

const TITLES: Readonly<Record<string, string>> = {
  stack: "start registry, storage, hub and functions host",
  images: "build three versions of an image, 60 MB of dependencies each",
  "release 1": "push version 1: released whole to three rings",
  "release 2": "push version 2: rebased, verified, released to three rings",
  control: "pull version 2 as it was pushed, on a device that holds version 1",
  "release 3": "push version 3, which crashes: caught on the canary ring, rolled back",
};

/** Shows events as lines, and on a terminal what goes on right now in a last line of its own. */
async function createScreen(stream: NodeJS.WriteStream): Promise<{ show(event: DemoEvent): void; stop(): void }> {
  const paint = createPaint(stream);
  const { SingleBar, Presets } = await import("cli-progress");
  const bar = stream.isTTY
    ? new SingleBar(
        { stream, clearOnComplete: true, hideCursor: true, format: "  {what} {bar} {percentage}%" },
        Presets.shades_classic,
      )
    : undefined;
  let busy = false;
  const clear = (): void => {
    if (busy) bar?.stop();
    busy = false;
    if (stream.isTTY) stream.write("\r\u001b[K");
  };
  return {
    show(event) {
      if (event.type === "step") {
        clear();
        const title = TITLES[event.step] ?? event.step;
        const line =
          event.state === "started"
            ? `${paint.cyan("…")} ${title}`
            : `${paint.green("✓")} ${title} ${paint.dim(event.detail ?? "")}`;
        stream.write(`${line}\n`);
      } else if (event.type === "waiting") {
        clear();
        const line = `  ${event.release}: ${event.state}, waits for ${event.waitsFor}`;
        stream.write(stream.isTTY ? paint.dim(line.slice(0, (stream.columns ?? 80) - 1)) : `${line}\n`);
      } else if (event.type === "progress" && bar !== undefined) {
        if (!busy) bar.start(event.total, event.done, { what: event.step });
        busy = true;
        bar.setTotal(event.total);
        bar.update(event.done, { what: `${event.step} (${formatBytes(event.total)})` });
      }
    },
    stop: clear,
  };
}

/** Adds the command. */
export function addDemoCommand(program: Command): void {
  program
    .command("demo")
    .description("push three versions of an image to a small fleet and see what each costs its devices")
    .option("--once", "end when done, also on a terminal")
    .option("--seed <n>", "seed of the generated content", wholeNumber(0, 2 ** 32 - 1), 1)
    .option(
      "--time-scale <n>",
      "seconds of the stack's clock per second; a rollout takes hours of it",
      positiveNumber,
      300,
    )
    .option("--json", "print one JSON object on the last line")
    .action(async (options: DemoOptions) => {
      const stay = options.once !== true && options.json !== true && process.stdout.isTTY;
      const child = startLocalProcess([
        "demo",
        "--seed",
        String(options.seed),
        "--time-scale",
        String(options.timeScale),
        ...(stay ? ["--stay"] : []),
      ]);
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => child.stop());
      const screen = await createScreen(process.stderr);
      let done = false;
      for await (const event of child.events) {
        const told = event as DemoEvent;
        screen.show(told);
        if (told.type === "failed") process.stderr.write(`lighter: ${told.message}\n`);
        if (told.type !== "result") continue;
        done = true;
        screen.stop();
        await printDemoResult(told.result, options.json, process.stdout);
        if (stay) process.stderr.write("The stack stays up; end it with Ctrl-C.\n");
      }
      const code = await child.exited;
      if (!done || code !== 0) process.exitCode = EXIT.failed;
    });
}
