// Scheduled jobs: twin updates and direct methods over the devices that a condition selects, at the service's pace.
import type { Clock } from "../clock.ts";
import type { Device, DeviceStore } from "./device-store.ts";
import { type DirectMethods, readMethodCall } from "./direct-methods.ts";
import { compileSelector } from "./expression.ts";
import { IotHubError, badRequest } from "./iot-hub-error.ts";
import { EMPTY, type JsonObject, isObject } from "./json.ts";
import { parseCondition } from "./query-parser.ts";
import { readerOfTwin } from "./twin-reader.ts";
import { writeTwin } from "./twin.ts";

type JobStatus = "queued" | "scheduled" | "running" | "completed" | "failed" | "cancelled";

interface Job {
  readonly jobId: string;
  readonly type: "scheduleUpdateTwin" | "scheduleDeviceMethod";
  readonly body: JsonObject;
  readonly condition: string;
  readonly createdMs: number;
  readonly startMs: number;
  readonly limitMs: number;
  status: JobStatus;
  endMs: number | undefined;
  failureReason: string | undefined;
  devices: readonly Device[];
  done: number;
  failed: number;
}

/** Scheduled jobs by id. */
export interface Jobs {
  /** Creates a job; throws JobAlreadyExists, ThrottlingMaxActiveJobCountExceeded, ArgumentInvalid. */
  create(jobId: string, body: JsonObject): JsonObject;
  /** The job; unknown ids have type and status `unknown`, as the service answers. */
  get(jobId: string): JsonObject;
  cancel(jobId: string): JsonObject;
  list(filter: { readonly type: string | undefined; readonly status: string | undefined }): JsonObject[];
  /** The rows of `devices.jobs`. */
  rows(): readonly JsonObject[];
  close(): void;
}

/** What jobs work on, and how fast. */
export interface JobsOptions {
  readonly clock: Clock;
  readonly devices: DeviceStore;
  readonly methods: DirectMethods;
  readonly concurrent: number;
  readonly devicesPerSecond: number;
}

const SECOND_MS = 1_000;
const ACTIVE: ReadonlySet<JobStatus> = new Set(["queued", "scheduled", "running"]);

const time = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString());

function renderJob(job: Job): JsonObject {
  return {
    jobId: job.jobId,
    type: job.type,
    status: job.status,
    queryCondition: job.condition,
    createdTime: time(job.createdMs),
    startTime: time(job.startMs),
    endTime: time(job.endMs),
    maxExecutionTimeInSeconds: job.limitMs / SECOND_MS,
    ...(job.type === "scheduleUpdateTwin"
      ? { updateTwin: job.body["updateTwin"] ?? null }
      : { cloudToDeviceMethod: job.body["cloudToDeviceMethod"] ?? null }),
    ...(job.failureReason === undefined ? {} : { failureReason: job.failureReason }),
    deviceJobStatistics: {
      deviceCount: job.devices.length,
      failedCount: job.failed,
      succeededCount: job.done - job.failed,
      runningCount: 0,
      pendingCount: job.devices.length - job.done,
    },
  };
}

function readJob(jobId: string, body: JsonObject, nowMs: number): Job {
  const { type, queryCondition, startTime, maxExecutionTimeInSeconds = 3600 } = body;
  if (!/^[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,256}$/.test(jobId)) throw badRequest(`Job id '${jobId}' is not valid`);
  if (type !== "scheduleUpdateTwin" && type !== "scheduleDeviceMethod")
    throw badRequest(`Job type ${JSON.stringify(type)} is not supported`);
  if (typeof queryCondition !== "string" || queryCondition.trim() === "") throw badRequest("queryCondition is missing");
  if (type === "scheduleUpdateTwin" && !isObject(body["updateTwin"])) throw badRequest("updateTwin is missing");
  if (type === "scheduleDeviceMethod")
    readMethodCall(isObject(body["cloudToDeviceMethod"]) ? body["cloudToDeviceMethod"] : EMPTY);
  if (typeof maxExecutionTimeInSeconds !== "number" || maxExecutionTimeInSeconds <= 0)
    throw badRequest("maxExecutionTimeInSeconds must be positive");
  const given = typeof startTime === "string" && startTime !== "" ? Date.parse(startTime) : nowMs;
  if (Number.isNaN(given)) throw badRequest(`startTime ${JSON.stringify(startTime)} is not a time`);
  return {
    jobId,
    type,
    body,
    condition: queryCondition,
    createdMs: nowMs,
    startMs: Math.max(given, nowMs),
    limitMs: maxExecutionTimeInSeconds * SECOND_MS,
    status: given > nowMs ? "scheduled" : "queued",
    endMs: undefined,
    failureReason: undefined,
    devices: [],
    done: 0,
    failed: 0,
  };
}

/** Creates the job runner; a job touches `devicesPerSecond` devices per second of the clock. */
export function createJobs(options: JobsOptions): Jobs {
  const { clock, devices, methods } = options;
  const jobs = new Map<string, Job>();
  const rows: JsonObject[] = [];
  const cancels = new Map<string, () => void>();

  const select = (condition: string): Device[] => {
    devices.catchUp();
    const selects = condition.trim() === "*" ? () => true : compileSelector(parseCondition(condition), readerOfTwin);
    return devices
      .places()
      .filter((device): device is Device => device?.twin.indexed !== undefined && selects(device.twin.indexed));
  };
  const carryOut = async (job: Job, device: Device): Promise<JsonObject> => {
    if (job.type === "scheduleUpdateTwin") {
      if (device.twin.current === undefined) throw new Error("the device is gone");
      devices.write(
        device.twin,
        writeTwin(device.twin.current, job.body["updateTwin"] as JsonObject, "merge", clock.now()),
      );
      return EMPTY;
    }
    const response = await methods.invoke(
      device.deviceId,
      "",
      readMethodCall(job.body["cloudToDeviceMethod"] as JsonObject),
    );
    return { outcome: { deviceMethodResponse: response as unknown as JsonObject } };
  };
  const finish = (job: Job, status: JobStatus, failureReason?: string): void => {
    job.status = status;
    job.endMs = clock.now();
    job.failureReason = failureReason;
    cancels.get(job.jobId)?.();
    cancels.delete(job.jobId);
  };
  const touch = async (job: Job, device: Device): Promise<void> => {
    const startedMs = clock.now();
    const row = {
      deviceId: device.deviceId,
      jobId: job.jobId,
      jobType: job.type,
      createdDateTimeUtc: time(job.createdMs),
      startTimeUtc: time(startedMs),
    };
    const outcome = await carryOut(job, device).then(
      (facts) => ({ status: "completed", ...facts }),
      (error: Error) => ({ status: "failed", error: { code: "400", description: error.message } }),
    );
    job.done += 1;
    if (outcome.status === "failed") job.failed += 1;
    rows.push({ ...row, endTimeUtc: time(clock.now()), lastUpdatedDateTimeUtc: time(clock.now()), ...outcome });
  };
  const step = async (job: Job, from: number): Promise<void> => {
    const end = Math.min(from + options.devicesPerSecond, job.devices.length);
    await Promise.all(job.devices.slice(from, end).map((device) => touch(job, device)));
    if (job.status !== "running") return;
    if (end >= job.devices.length) return finish(job, "completed");
    if (clock.now() - job.startMs > job.limitMs) return finish(job, "failed", "maxExecutionTimeInSeconds has passed");
    cancels.set(
      job.jobId,
      clock.after(SECOND_MS, () => void step(job, end)),
    );
  };
  const start = (job: Job): void => {
    job.status = "running";
    job.devices = select(job.condition);
    void step(job, 0);
  };

  return {
    create(jobId, body) {
      if (jobs.has(jobId)) throw new IotHubError(409, "JobAlreadyExists", `Job ${jobId} already exists`);
      const job = readJob(jobId, body, clock.now());
      if (job.condition.trim() !== "*") parseCondition(job.condition);
      const active = [...jobs.values()].filter(({ status }) => ACTIVE.has(status)).length;
      if (active >= options.concurrent) {
        throw new IotHubError(
          429,
          "ThrottlingMaxActiveJobCountExceeded",
          `${active} job(s) are active, at most ${options.concurrent} may be`,
        );
      }
      jobs.set(jobId, job);
      cancels.set(
        jobId,
        clock.after(job.startMs - clock.now(), () => start(job)),
      );
      return renderJob(job);
    },
    get(jobId) {
      const job = jobs.get(jobId);
      return job === undefined ? { jobId, type: "unknown", status: "unknown" } : renderJob(job);
    },
    cancel(jobId) {
      const job = jobs.get(jobId);
      if (job === undefined) throw new IotHubError(404, "JobNotFound", `Job ${jobId} was not found`);
      if (ACTIVE.has(job.status)) finish(job, "cancelled");
      return renderJob(job);
    },
    list: ({ type, status }) =>
      [...jobs.values()]
        .filter((job) => (type === undefined || job.type === type) && (status === undefined || job.status === status))
        .map(renderJob),
    rows: () => rows,
    close() {
      for (const cancel of cancels.values()) cancel();
      cancels.clear();
    },
  };
}
