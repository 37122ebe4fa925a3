// An app with a trigger or binding, chosen by a setting, that the host does not offer, or a route that is wrong.
import { app, input, output } from "@azure/functions";

const handler = (): undefined => undefined;
switch (process.env["WRONG"]) {
  case "trigger":
    app.storageQueue("queued", { queueName: "q", connection: "c", handler });
    break;
  case "input":
    app.http("reads", { extraInputs: [input.storageBlob({ path: "a/b", connection: "c" })], handler: () => ({}) });
    break;
  case "output":
    app.http("writes", {
      extraOutputs: [output.storageQueue({ queueName: "q", connection: "c" })],
      handler: () => ({}),
    });
    break;
  case "route":
    app.http("routed", { route: "a/{id:nonsense}", handler: () => ({}) });
    break;
  case "reserved":
    app.http("reserved", { route: "../admin/x", handler: () => ({}) });
    app.http("administers", { route: "admin/x", handler: () => ({}) });
    break;
  case "schedule":
    app.timer("timed", { schedule: "sometimes", handler });
    break;
  case "setting":
    app.timer("timed", { schedule: "%NO_SUCH_SETTING%", handler });
    break;
  case "throws":
    throw new Error("the app's own fault");
  case "twice":
    app.http("same", { handler: () => ({}) });
    app.http("same", { handler: () => ({}) });
    break;
}
