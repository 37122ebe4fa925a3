// An app of timers that leave what they were told in a file.
import { appendFileSync } from "node:fs";
import { app } from "@azure/functions";
import type { InvocationContext, Timer } from "@azure/functions";

/** Leaves what a timer was told in the file that the test reads. */
function note(timer: Timer, context: InvocationContext): void {
  const file = process.env["TIMER_FILE"] ?? "";
  const { isPastDue, schedule, scheduleStatus } = timer;
  appendFileSync(
    file,
    `${JSON.stringify({ name: context.functionName, isPastDue, schedule, scheduleStatus, retry: context.retryContext })}\n`,
  );
}

app.timer("hourly", { schedule: "%HOURLY_SCHEDULE%", handler: note });
app.timer("often", { schedule: "*/20 * * * * *", handler: note });
app.timer("atStart", { schedule: "0 0 0 1 1 *", runOnStartup: true, handler: note });
app.timer("interval", { schedule: "00:10:00", handler: note });
app.timer("failing", {
  schedule: "0 30 * * * *",
  retry: { strategy: "fixedDelay", maxRetryCount: 2, delayInterval: { seconds: 60 } },
  handler: (timer, context) => {
    note(timer, context);
    throw new Error("timer failed");
  },
});
