// What Lighter needs of an IoT hub: automatic deployments, the fleet's devices, and their slots.
import type { Deployment } from "../core/rollout/deployment.ts";
import type { Slot } from "../core/rollout/slots.ts";

/** A deployment as the hub holds it, with the counts of its last evaluation. */
export interface HubDeployment {
  readonly id: string;
  readonly priority: number;
  readonly targetCondition: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly content: Deployment["content"];
  readonly etag: string;
  readonly counts: {
    readonly targeted: number;
    readonly applied: number;
    /** Results of the deployment's own metric queries by name. */
    readonly metrics: Readonly<Record<string, number>>;
  };
}

/** Automatic deployments (configurations) of one hub. */
export interface HubDeployments {
  list(): Promise<readonly HubDeployment[]>;
  get(id: string): Promise<HubDeployment | undefined>;
  /** Creates the deployment, or widens the target condition of the one with this id; the content of one never changes. */
  put(deployment: Deployment): Promise<void>;
  /** Deletes it; a deployment that is not there is fine. */
  remove(id: string): Promise<void>;
}

/** One module as a device's agent reports it. */
export interface ReportedModule {
  readonly image: string;
  readonly runtimeStatus: string;
}

/** What one call gave, and where to go on; no continuation when every device that was there has its slot now. */
interface SlotAssignment {
  readonly assigned: number;
  readonly continuation?: string;
}

/** The devices of one hub. Conditions are target conditions. */
export interface HubFleet {
  countDevices(condition: string): Promise<number>;
  findDevices(condition: string, limit: number): Promise<readonly string[]>;
  /** A point read of a device's `$edgeAgent` twin (current, where queries lag). */
  readModule(deviceId: string, moduleName: string): Promise<ReportedModule | undefined>;
  /**
   * Gives IoT Edge devices without a slot their own, for about a minute at most; to be called again with the
   * continuation it returned until it returns none. A repetition after a crash gives the same slots.
   */
  assignSlots(slotOf: (deviceId: string) => Slot, continuation?: string): Promise<SlotAssignment>;
}

/** One IoT hub. */
export interface IotHub {
  readonly name: string;
  readonly deployments: HubDeployments;
  readonly fleet: HubFleet;
}
