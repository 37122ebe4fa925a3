// Operator commands: written down first, so that the event which wakes the orchestrator may be lost.

/** What operations can tell a release. */
export type CommandKind = "approve" | "reject" | "abort" | "rollback";

/** One command as it was written down. */
export interface ReleaseCommand {
  readonly kind: CommandKind;
  /** ISO 8601. */
  readonly at: string;
  readonly reason?: string;
}

/** The command that ends a release, if any: a rollback outranks an abort, whichever came first. */
export function decisiveCommand(commands: readonly ReleaseCommand[]): ReleaseCommand | undefined {
  return commands.find(({ kind }) => kind === "rollback") ?? commands.find(({ kind }) => kind === "abort");
}

/** The answer to a held release, if any: a rejection outranks an approval, whichever came first. */
export function findAnswer(commands: readonly ReleaseCommand[]): ReleaseCommand | undefined {
  return commands.find(({ kind }) => kind === "reject") ?? commands.find(({ kind }) => kind === "approve");
}
