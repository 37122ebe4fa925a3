// The bodies that ACR Tasks takes: quick builds, encoded tasks, runs of pre-created tasks, and those tasks.
import { AcrTasksError } from "./acr-tasks-error.ts";

/** The agent's platform, not the image's: what runs here copies files or runs Lighter. */
export interface AgentPlatform {
  readonly os: "Linux";
  readonly architecture: "amd64" | "arm64";
}

/** Who logs in to which registry; identities only, so that no secret is ever in a request. */
interface RunCredentials {
  readonly sourceRegistry?: { readonly loginMode?: "Default"; readonly identity?: string };
  readonly customRegistries?: Readonly<Record<string, { readonly identity: string }>>;
}

/** What all runs have in common. */
interface CommonRequest {
  readonly isArchiveEnabled: boolean;
  readonly agentPoolName?: string;
  readonly platform: AgentPlatform;
  /** Seconds, 300 to 28,800. */
  readonly timeout: number;
  readonly credentials: RunCredentials;
}

/** A value of an `ARG` of a Dockerfile. */
interface BuildArgument {
  readonly name: string;
  readonly value: string;
  readonly isSecret: false;
}

/** A quick build of an uploaded context. */
interface BuildRequest extends CommonRequest {
  readonly type: "DockerBuildRequest";
  readonly sourceLocation: string;
  readonly dockerFilePath: string;
  readonly imageNames: readonly string[];
  readonly isPushEnabled: true;
  readonly noCache: boolean;
  readonly target?: string;
  readonly arguments?: readonly BuildArgument[];
}

/** A task that is sent along. */
interface EncodedTaskRequest extends CommonRequest {
  readonly type: "EncodedTaskRunRequest";
  /** The task's YAML in base64. */
  readonly encodedTaskContent: string;
}

/** A value of a task's template. */
export interface TaskValue {
  readonly name: string;
  readonly value: string;
  readonly isSecret: false;
}

/** A run of a pre-created task. */
interface TaskRequest {
  readonly type: "TaskRunRequest";
  readonly taskId: string;
  readonly isArchiveEnabled: boolean;
  readonly agentPoolName?: string;
  readonly overrideTaskStepProperties: { readonly values: readonly TaskValue[] };
}

/** Anything that can be scheduled here. */
export type RunRequest = BuildRequest | EncodedTaskRequest | TaskRequest;

/** A task to be created. */
export interface TaskDefinition {
  readonly location: string;
  readonly identity: { readonly type: "SystemAssigned" };
  readonly properties: {
    readonly status: "Enabled";
    readonly platform: AgentPlatform;
    readonly timeout: number;
    readonly agentPoolName?: string;
    readonly credentials: RunCredentials;
    readonly step: {
      readonly type: "EncodedTask";
      readonly encodedTaskContent: string;
      readonly values: readonly TaskValue[];
    };
  };
}

/** How runs are carried out. */
export interface RunSettings {
  readonly agentPool?: string;
  /** Default linux/amd64. */
  readonly architecture?: AgentPlatform["architecture"];
  /** Seconds, 300 to 28,800; default an hour. */
  readonly timeoutSeconds?: number;
  /**
   * Who logs in to the registry: `[system]`, `[caller]` or a client id. A registry with permissions by repository (ABAC)
   * lets nobody else in.
   */
  readonly sourceIdentity?: string;
  /** Identities for other registries, by host: a client id or `system`. */
  readonly otherIdentities?: Readonly<Record<string, string>>;
}

const DEFAULT_TIMEOUT_SECONDS = 3_600;
const MIN_TIMEOUT_SECONDS = 300;
const MAX_TIMEOUT_SECONDS = 28_800;

/** The seconds a run may take. @throws AcrTasksError SETTING_INVALID */
export function timeoutOf({ timeoutSeconds = DEFAULT_TIMEOUT_SECONDS }: RunSettings): number {
  const isFine = Number.isInteger(timeoutSeconds) && timeoutSeconds >= MIN_TIMEOUT_SECONDS;
  if (isFine && timeoutSeconds <= MAX_TIMEOUT_SECONDS) return timeoutSeconds;
  throw new AcrTasksError("SETTING_INVALID", {
    operation: "use",
    subject: "timeout of runs",
    got: `${timeoutSeconds} s`,
    want: `${MIN_TIMEOUT_SECONDS} to ${MAX_TIMEOUT_SECONDS}`,
  });
}

/** The fields that all runs have in common. */
export function commonFields(settings: RunSettings): CommonRequest {
  const { agentPool } = settings;
  return {
    isArchiveEnabled: false,
    ...(agentPool === undefined ? {} : { agentPoolName: agentPool }),
    platform: platformOf(settings),
    timeout: timeoutOf(settings),
    credentials: credentialsOf(settings),
  };
}

/** The agent's platform. */
export function platformOf({ architecture = "amd64" }: RunSettings): AgentPlatform {
  return { os: "Linux", architecture };
}

/** Who logs in where. */
function credentialsOf({ sourceIdentity, otherIdentities = {} }: RunSettings): RunCredentials {
  const others = Object.entries(otherIdentities).map(([host, identity]) => [host, { identity }] as const);
  return {
    sourceRegistry: { loginMode: "Default", ...(sourceIdentity === undefined ? {} : { identity: sourceIdentity }) },
    ...(others.length === 0 ? {} : { customRegistries: Object.fromEntries(others) }),
  };
}
