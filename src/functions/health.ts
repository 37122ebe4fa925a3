// HTTP trigger that says whether the backend's settings and storage are in order.
import { app } from "@azure/functions";
import { getApp } from "../app.ts";
import { respond } from "./respond.ts";

app.http("health", {
  methods: ["GET"],
  route: "health",
  authLevel: "anonymous",
  handler: respond(async () => {
    await getApp().operations.list({ limit: 1 });
    return { status: 200, body: { status: "ok" } };
  }),
});
