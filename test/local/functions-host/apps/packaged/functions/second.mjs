// One of the two entry files that the package's glob finds.
import { app } from "@azure/functions";

app.http("second", { handler: () => ({ body: "second" }) });
