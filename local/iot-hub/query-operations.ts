// The operations that reach over many devices: queries and jobs.
import { badRequest } from "./iot-hub-error.ts";
import { parseQuery } from "./query-parser.ts";
import { prepareQuery } from "./query-runner.ts";
import { type Operation, type OperationsOptions, bodyOf, ok, part } from "./operation.ts";

/** Queries over twins and jobs. */
export function queryOperations({ devices, jobs, pageSize }: OperationsOptions): Operation[] {
  return [
    {
      name: "query",
      method: "POST",
      route: "/devices/query",
      throttle: "query",
      handle(request) {
        const { query: text } = bodyOf(request);
        if (typeof text !== "string") throw badRequest("query is missing");
        const asked = Number(request.header("x-ms-max-item-count") ?? pageSize.preset);
        const limit = Number.isInteger(asked) && asked > 0 ? Math.min(asked, pageSize.most) : pageSize.preset;
        const query = prepareQuery(parseQuery(text), text, devices, () => jobs.rows());
        devices.catchUp();
        const page = query.page({ limit, continuation: request.header("x-ms-continuation") });
        const headers = {
          "x-ms-item-type": page.itemType,
          ...(page.continuation === undefined ? {} : { "x-ms-continuation": page.continuation }),
        };
        return ok(page.items, headers);
      },
    },
  ];
}

/** Scheduled jobs. */
export function jobOperations({ jobs }: OperationsOptions): Operation[] {
  return [
    {
      name: "jobs.query",
      method: "GET",
      route: "/jobs/v2/query",
      throttle: "job",
      handle: ({ search }) =>
        ok(jobs.list({ type: search.get("jobType") ?? undefined, status: search.get("jobStatus") ?? undefined })),
    },
    {
      name: "jobs.put",
      method: "PUT",
      route: "/jobs/v2/:id",
      throttle: "job",
      handle: (request) => ok(jobs.create(part(request, "id"), bodyOf(request))),
    },
    {
      name: "jobs.get",
      method: "GET",
      route: "/jobs/v2/:id",
      throttle: "job",
      handle: (request) => ok(jobs.get(part(request, "id"))),
    },
    {
      name: "jobs.cancel",
      method: "POST",
      route: "/jobs/v2/:id/cancel",
      throttle: "job",
      handle: (request) => ok(jobs.cancel(part(request, "id"))),
    },
  ];
}
