// A timer that starts releases whose start was cut off between their record and their orchestration.
import { app } from "@azure/functions";
import * as df from "durable-functions";
import { getApp } from "../app.ts";
import { createStarter } from "./durable.ts";

app.timer("sweepReleases", {
  schedule: "0 * * * * *",
  extraInputs: [df.input.durableClient()],
  handler: async (_timer, context) => {
    const start = createStarter(context);
    for (const releaseId of await getApp().operations.listUnstarted()) await start(releaseId);
  },
});
