// A timer that gives slots to devices that joined since the last rollout, so that they receive what the fleet runs.
import { app } from "@azure/functions";
import { getApp } from "../app.ts";

app.timer("slotDevices", {
  schedule: "30 */10 * * * *",
  handler: async (_timer, context) => {
    const assigned = await getApp().operations.assignSlots();
    if (assigned > 0) context.info(`${assigned} devices were given a slot`);
  },
});
