// The embedded IoT Hub: the REST interface that azure-iothub speaks, automatic deployments, and the devices' side.
import { randomBytes } from "node:crypto";
import type { Clock } from "../clock.ts";
import { type LayeredRemoval, createAssigner } from "./assignment.ts";
import { createConfigurationStore } from "./configuration-store.ts";
import { createConnections } from "./connections.ts";
import { createDeployer } from "./deployer.ts";
import type { DeviceGateway } from "./device-gateway.ts";
import { createDeviceStore } from "./device-store.ts";
import { createDirectMethods } from "./direct-methods.ts";
import { createEvaluation } from "./evaluation.ts";
import { type FaultOrder, createFaultInjector } from "./faults.ts";
import { createIdentityRegistry } from "./identity-registry.ts";
import { createJobs } from "./jobs.ts";
import { computeMetrics } from "./metrics.ts";
import { listOperations } from "./operations.ts";
import { serveOperations } from "./rest-server.ts";
import {
  CONCURRENT_JOBS,
  CONFIGURATION_LIMIT,
  NO_THROTTLE,
  type Sku,
  createThrottle,
  jobDevicesPerSecond,
} from "./throttle.ts";

/** How the hub behaves; all durations are in ms of its clock. */
export interface IotHubOptions {
  readonly clock: Clock;
  /** 0 or nothing for any free port. */
  readonly port?: number;
  /** Tier and units decide the throttles; `unlimited` switches the throttles off (limits of number and size stay). */
  readonly sku?: Sku;
  readonly units?: number;
  readonly unlimited?: boolean;
  /** Base64 keys by policy; `iothubowner` with a random key when left out. */
  readonly policies?: Readonly<Record<string, string>>;
  /** Accepts bearer tokens; none is accepted when left out. */
  readonly acceptBearer?: (token: string) => boolean;
  /** The wall time that SDKs sign tokens with, in seconds; `Date.now` when left out. */
  readonly nowSeconds?: () => number;
  /** From a configuration's change to its first evaluation; 30 s when left out. */
  readonly evaluationDelayMs?: number;
  /** Between evaluations; five minutes when left out. */
  readonly evaluationIntervalMs?: number;
  /** From an evaluation to its metrics being shown; 0 when left out. */
  readonly metricsLagMs?: number;
  /** How far queries and metrics are behind the twins; 0 when left out. */
  readonly queryLagMs?: number;
  /** Whether modules of a layered deployment go with it; they do when left out. */
  readonly layeredRemoval?: LayeredRemoval;
  /** What an update with other content does: the documented error (default), or the observed silence. */
  readonly changedContent?: "reject" | "ignore";
  /** Devices that a job touches per second of the clock; the tier's when left out. */
  readonly jobDevicesPerSecond?: number;
}

/** A running hub. */
export interface IotHub {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  /** With host and port in `HostName`, for the first policy. */
  readonly connectionString: string;
  readonly devices: DeviceGateway;
  /** Requests per operation since the last reset, e.g. `{"configurations.put": 2, "query": 1}`. */
  calls(): Readonly<Record<string, number>>;
  resetCalls(): void;
  /** Orders a fault for coming requests. */
  inject(order: FaultOrder): void;
  clearFaults(): void;
  close(): Promise<void>;
}

const MINUTE_MS = 60_000;
const PAGE_SIZE = { preset: 100, most: 1_000 };

/** Starts a hub with no devices and no configurations on 127.0.0.1; its state lives in memory. */
export async function createIotHub(options: IotHubOptions): Promise<IotHub> {
  const { clock, sku = "S1", units = 1 } = options;
  const policies = options.policies ?? { iothubowner: randomBytes(32).toString("base64") };
  const devices = createDeviceStore({ clock, indexLagMs: options.queryLagMs ?? 0 });
  const connections = createConnections(devices, clock);
  const methods = createDirectMethods(connections, clock);
  const deployer = createDeployer(devices, clock);
  const identities = createIdentityRegistry(devices, clock);
  const faults = createFaultInjector();
  const jobs = createJobs({
    clock,
    devices,
    methods,
    concurrent: CONCURRENT_JOBS[sku],
    devicesPerSecond: options.jobDevicesPerSecond ?? jobDevicesPerSecond(sku, units),
  });

  const evaluation = createEvaluation({
    clock,
    devices,
    assigner: createAssigner(options.layeredRemoval ?? "remove"),
    delayMs: options.evaluationDelayMs ?? MINUTE_MS / 2,
    intervalMs: options.evaluationIntervalMs ?? 5 * MINUTE_MS,
    apply: (device, { content, statuses }) => deployer.deploy(device, content, statuses),
    measure(evaluated) {
      const results = computeMetrics(
        evaluated,
        (configuration) => evaluation.countTargets(configuration),
        devices,
        () => jobs.rows(),
      );
      return () => {
        for (const [configuration, result] of results) configuration.results = result;
      };
    },
    metricsLagMs: options.metricsLagMs ?? 0,
  });
  const configurations = createConfigurationStore({
    clock,
    limit: CONFIGURATION_LIMIT[sku],
    changedContent: options.changedContent ?? "reject",
    changed: (configuration) => evaluation.schedule(configuration),
    removed: (configuration) => evaluation.remove(configuration),
  });

  let calls: Record<string, number> = {};
  let hostNames: readonly string[] = ["127.0.0.1", "localhost"];
  const server = await serveOperations(
    {
      clock,
      operations: listOperations({
        clock,
        devices,
        identities,
        configurations,
        deployer,
        methods,
        jobs,
        pageSize: PAGE_SIZE,
      }),
      access: () => ({
        hostNames,
        policies,
        acceptBearer: options.acceptBearer,
        nowSeconds: options.nowSeconds ?? (() => Date.now() / 1_000),
      }),
      throttle: options.unlimited === true ? NO_THROTTLE : createThrottle(sku, units, clock),
      faults,
      count: (operation) => void (calls[operation] = (calls[operation] ?? 0) + 1),
    },
    options.port ?? 0,
  );
  hostNames = hostNames.flatMap((host) => [host, `${host}:${server.port}`]);
  const [policy, key] = Object.entries(policies)[0] ?? ["", ""];

  return {
    url: `http://127.0.0.1:${server.port}`,
    connectionString: `HostName=127.0.0.1:${server.port};SharedAccessKeyName=${policy};SharedAccessKey=${key}`,
    devices: connections,
    calls: () => ({ ...calls }),
    resetCalls: () => void (calls = {}),
    inject: (order) => faults.order(order),
    clearFaults: () => faults.clear(),
    async close() {
      evaluation.close();
      jobs.close();
      await server.close();
    },
  };
}
