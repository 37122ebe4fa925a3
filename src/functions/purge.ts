// A timer that removes Durable histories that ended long ago; the release records stay.
import { app } from "@azure/functions";
import * as df from "durable-functions";
import { getApp } from "../app.ts";

const KEPT_DAYS = 30;
const DAY_MS = 86_400_000;

app.timer("purgeHistories", {
  schedule: "0 30 3 * * *",
  extraInputs: [df.input.durableClient()],
  handler: async (_timer, context) => {
    const { instancesDeleted } = await df.getClient(context).purgeInstanceHistoryBy({
      createdTimeFrom: new Date(0),
      createdTimeTo: new Date(getApp().now().getTime() - KEPT_DAYS * DAY_MS),
      runtimeStatus: [
        df.OrchestrationRuntimeStatus.Completed,
        df.OrchestrationRuntimeStatus.Failed,
        df.OrchestrationRuntimeStatus.Terminated,
      ],
    });
    context.info(`purged ${instancesDeleted} histories older than ${KEPT_DAYS} days`);
  },
});
