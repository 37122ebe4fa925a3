// `lighter approve`, `reject`, `abort` and `rollback`: answer a held release, stop one where it is, take one back.
import type { Command } from "commander";
import { addApiOptions, callApi, type ApiOptions } from "../api.ts";
import { print } from "../image-command.ts";

const DESCRIPTIONS = {
  approve: "let a release go on that is held because of what changed",
  reject: "end a release that is held because of what changed",
  abort: "stop a release; devices that it reached keep what they got",
  rollback: "stop a release and return every device that it reached to the previous content",
} as const;

function addSteering(program: Command, kind: keyof typeof DESCRIPTIONS): void {
  const command = program
    .command(kind)
    .description(DESCRIPTIONS[kind])
    .argument("<id>", "the release's id, as `lighter releases` lists it")
    .option("--reason <text>", "kept with the release");
  addApiOptions(command).action(async (id: string, options: ApiOptions & { readonly reason?: string }) => {
    const body = options.reason === undefined ? {} : { reason: options.reason };
    const accepted = await callApi(options, "POST", `releases/${encodeURIComponent(id)}/${kind}`, body);
    await print(accepted, options.json, () => [[kind, `${id}: accepted; follow it with: lighter status ${id}`]]);
  });
}

/** Adds `lighter approve`. */
export function addApproveCommand(program: Command): void {
  addSteering(program, "approve");
}

/** Adds `lighter reject`. */
export function addRejectCommand(program: Command): void {
  addSteering(program, "reject");
}

/** Adds `lighter abort`. */
export function addAbortCommand(program: Command): void {
  addSteering(program, "abort");
}

/** Adds `lighter rollback`. */
export function addRollbackCommand(program: Command): void {
  addSteering(program, "rollback");
}
