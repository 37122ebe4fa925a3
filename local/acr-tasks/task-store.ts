// Pre-created tasks: their definitions, and the requests that runs of them amount to.
import { ArmError, invalidParameter } from "./arm-error.ts";
import type { Credentials, QuickRequest, RunRequest, Setting, TaskDefinition } from "./run-types.ts";

type TaskRunRequest = Extract<RunRequest, { readonly type: "TaskRunRequest" }>;

/** A task with what the service adds. */
export interface TaskRecord {
  readonly name: string;
  readonly definition: TaskDefinition;
  readonly creationDate: number;
  /** The system-assigned identity's object id, where the task has one. */
  readonly principalId: string | undefined;
}

/** Whether a task has an identity of its own. */
export function hasSystemIdentity({ definition }: TaskRecord): boolean {
  return definition.identity?.type.includes("SystemAssigned") === true;
}

/** What a run of a task asks for: its step with the overrides of the request. @throws ArmError */
export function resolveTaskRun({ definition }: TaskRecord, request: TaskRunRequest): QuickRequest {
  const { properties } = definition;
  if (properties.status === "Disabled") {
    throw new ArmError(409, "TaskDisabled", `The task '${request.taskId}' is disabled.`);
  }
  const { step } = properties;
  const override = request.overrideTaskStepProperties;
  const common = {
    isArchiveEnabled: request.isArchiveEnabled,
    logTemplate: request.logTemplate,
    agentPoolName: request.agentPoolName ?? properties.agentPoolName,
    timeout: properties.timeout,
    platform: properties.platform,
    agentConfiguration: properties.agentConfiguration,
    credentials: properties.credentials,
    sourceLocation: override?.contextPath ?? step.contextPath,
  };
  switch (step.type) {
    case "Docker": {
      if (override?.values !== undefined)
        throw invalidParameter(
          "request.overrideTaskStepProperties.values",
          "A Docker step takes arguments, not values.",
        );
      return {
        type: "DockerBuildRequest",
        ...common,
        dockerFilePath: override?.file ?? step.dockerFilePath,
        imageNames: step.imageNames,
        isPushEnabled: step.isPushEnabled,
        noCache: step.noCache,
        target: override?.target ?? step.target,
        arguments: merge(step.arguments, override?.arguments),
      };
    }
    case "EncodedTask":
      return {
        type: "EncodedTaskRunRequest",
        ...common,
        encodedTaskContent: step.encodedTaskContent,
        encodedValuesContent: step.encodedValuesContent,
        values: merge(step.values, override?.values),
      };
    default:
      return {
        type: "FileTaskRunRequest",
        ...common,
        taskFilePath: override?.file ?? step.taskFilePath,
        valuesFilePath: step.valuesFilePath,
        values: merge(step.values, override?.values),
      };
  }
}

function merge(settings: readonly Setting[] | undefined, overrides: readonly Setting[] | undefined): Setting[] {
  return [...new Map([...(settings ?? []), ...(overrides ?? [])].map((setting) => [setting.name, setting])).values()];
}

/** A task on the wire, without its secrets. */
export function renderTask({ name, definition, creationDate, principalId }: TaskRecord, registryId: string): unknown {
  const { location, tags, identity, properties } = definition;
  const { step } = properties;
  const shown = {
    ...step,
    ...("values" in step ? { values: hideSecrets(step.values) } : {}),
    ...("arguments" in step ? { arguments: hideSecrets(step.arguments) } : {}),
    ...("encodedTaskContent" in step
      ? { encodedTaskContent: Buffer.from(step.encodedTaskContent).toString("base64") }
      : {}),
    ...("encodedValuesContent" in step && step.encodedValuesContent !== undefined
      ? { encodedValuesContent: Buffer.from(step.encodedValuesContent).toString("base64") }
      : {}),
  };
  return {
    id: `${registryId}/tasks/${name}`,
    name,
    type: "Microsoft.ContainerRegistry/registries/tasks",
    location,
    ...(tags === undefined ? {} : { tags }),
    ...(identity === undefined
      ? {}
      : { identity: { ...identity, ...(principalId === undefined ? {} : { principalId, tenantId: principalId }) } }),
    properties: {
      ...properties,
      status: properties.status ?? "Enabled",
      provisioningState: "Succeeded",
      creationDate: new Date(creationDate).toISOString(),
      step: shown,
      ...(properties.credentials === undefined ? {} : { credentials: hideCredentials(properties.credentials) }),
    },
  };
}

function hideSecrets(settings: readonly Setting[] | undefined): unknown[] {
  return (settings ?? []).map(({ name, value, isSecret }) =>
    isSecret === true ? { name, isSecret } : { name, value, isSecret: false },
  );
}

function hideCredentials({ sourceRegistry, customRegistries }: Credentials): unknown {
  const shown = Object.entries(customRegistries ?? {}).map(([host, { identity }]) => [
    host,
    identity === undefined ? {} : { identity },
  ]);
  return { ...(sourceRegistry === undefined ? {} : { sourceRegistry }), customRegistries: Object.fromEntries(shown) };
}
