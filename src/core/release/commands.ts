// Operator commands: written down first, so that the event which wakes the orchestrator may be lost.

/** What operations can tell a release. */
export type CommandKind = "abort" | "rollback";

/** One command as it was written down. */
export interface ReleaseCommand {
  readonly kind: CommandKind;
  /** ISO 8601. */
  readonly at: string;
  readonly reason?: string;
}

/** The command that counts: a rollback outranks an abort, whichever came first. */
export function decisiveCommand(commands: readonly ReleaseCommand[]): ReleaseCommand | undefined {
  return commands.find(({ kind }) => kind === "rollback") ?? commands[0];
}
