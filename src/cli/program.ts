// Parses the arguments of `lighter`, runs one command, turns its outcome into an exit code.
import { Command, CommanderError } from "commander";
import { addAdviseCommand } from "./commands/advise.ts";
import { addBaselineCommand } from "./commands/baseline.ts";
import { addBootstrapCommand } from "./commands/bootstrap.ts";
import { addDemoCommand } from "./commands/demo.ts";
import { addPlanCommand } from "./commands/plan.ts";
import { addRebaseCommand } from "./commands/rebase.ts";
import { addReleasesCommand, addStatusCommand } from "./commands/releases.ts";
import { addSavingsCommand } from "./commands/savings.ts";
import { addAbortCommand, addApproveCommand, addRejectCommand, addRollbackCommand } from "./commands/steer.ts";
import { addUpCommand } from "./commands/up.ts";
import { addVerifyCommand } from "./commands/verify.ts";
import { EXIT, exitCodeOf, reportError } from "./exit.ts";

/** Every command adds itself; what it needs beyond its arguments it imports when it runs. */
const COMMANDS: readonly ((program: Command) => void)[] = [
  addUpCommand,
  addDemoCommand,
  addPlanCommand,
  addRebaseCommand,
  addVerifyCommand,
  addSavingsCommand,
  addAdviseCommand,
  addReleasesCommand,
  addStatusCommand,
  addApproveCommand,
  addRejectCommand,
  addAbortCommand,
  addRollbackCommand,
  addBaselineCommand,
  addBootstrapCommand,
];

function createProgram(): Command {
  const program = new Command("lighter")
    .description("Ships image updates to Azure IoT Edge fleets for kilobytes instead of megabytes.")
    .exitOverride()
    .showHelpAfterError("(run with --help for usage)")
    .configureHelp({ showGlobalOptions: true });
  for (const add of COMMANDS) add(program);
  for (const command of program.commands) command.exitOverride();
  return program;
}

/** Runs the command that `argv` (as in `process.argv`) asks for; sets `process.exitCode`. */
export async function runProgram(argv: readonly string[]): Promise<void> {
  try {
    await createProgram().parseAsync(argv);
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.done : EXIT.usage;
    else {
      reportError(error, argv.includes("--json"));
      process.exitCode = exitCodeOf(error);
    }
  }
}
