// The requests of ACR Tasks as types: runs, pre-created tasks and what they share; field names are the API's.

/** What may be left out; null means the same and is gone when a request is checked. */
type Maybe<T> = T | undefined;

/** A build argument or template value; secret ones are kept out of logs and answers. */
export interface Setting {
  readonly name: string;
  readonly value: string;
  readonly isSecret?: Maybe<boolean>;
}

/** A user name or password: itself, or the URL of a secret in a vault. */
interface SecretObject {
  readonly value: string;
  readonly type: "Opaque" | "Vaultsecret";
}

/** How a run logs in: to its own registry and, by login server, to others. */
export interface Credentials {
  readonly sourceRegistry?: Maybe<{
    readonly loginMode?: Maybe<"None" | "Default">;
    readonly identity?: Maybe<string>;
  }>;
  readonly customRegistries?: Maybe<
    Readonly<
      Record<
        string,
        {
          readonly userName?: Maybe<SecretObject>;
          readonly password?: Maybe<SecretObject>;
          readonly identity?: Maybe<string>;
        }
      >
    >
  >;
}

/** Where a run runs. */
export interface RunPlatform {
  readonly os: "Linux" | "Windows";
  readonly architecture?: Maybe<"amd64" | "x86" | "386" | "arm" | "arm64">;
  readonly variant?: Maybe<"v6" | "v7" | "v8">;
}

/** Fields of every request. */
interface BaseFields {
  readonly isArchiveEnabled?: Maybe<boolean>;
  readonly agentPoolName?: Maybe<string>;
  readonly logTemplate?: Maybe<string>;
}

/** Fields of requests that say themselves where to run; the timeout is in seconds. */
interface AgentFields {
  readonly timeout: number;
  readonly platform: RunPlatform;
  readonly agentConfiguration?: Maybe<{ readonly cpu?: Maybe<number> }>;
  readonly credentials?: Maybe<Credentials>;
}

/** What a Dockerfile build is told. */
interface DockerFields {
  readonly dockerFilePath: string;
  readonly imageNames?: Maybe<readonly string[]>;
  readonly isPushEnabled?: Maybe<boolean>;
  readonly noCache?: Maybe<boolean>;
  readonly target?: Maybe<string>;
  readonly arguments?: Maybe<readonly Setting[]>;
}

/** What a task in the request is told; its contents are decoded. */
interface EncodedFields {
  readonly encodedTaskContent: string;
  readonly encodedValuesContent?: Maybe<string>;
  readonly values?: Maybe<readonly Setting[]>;
}

/** What a task in a source is told. */
interface FileFields {
  readonly taskFilePath: string;
  readonly valuesFilePath?: Maybe<string>;
  readonly values?: Maybe<readonly Setting[]>;
}

interface SourceFields {
  readonly sourceLocation?: Maybe<string>;
}

/** A build of a Dockerfile. */
type DockerBuildRequest = { readonly type: "DockerBuildRequest" } & BaseFields &
  AgentFields &
  SourceFields &
  DockerFields;
/** A run of a task that is in the request, or in a source. */
type TaskTextRequest = BaseFields &
  AgentFields &
  SourceFields &
  (
    | ({ readonly type: "EncodedTaskRunRequest" } & EncodedFields)
    | ({ readonly type: "FileTaskRunRequest" } & FileFields)
  );
/** A request that says itself what to run. */
export type QuickRequest = DockerBuildRequest | TaskTextRequest;

/** A run of a pre-created task. */
interface TaskRunRequest extends BaseFields {
  readonly type: "TaskRunRequest";
  readonly taskId: string;
  readonly overrideTaskStepProperties?: Maybe<{
    readonly contextPath?: Maybe<string>;
    readonly file?: Maybe<string>;
    readonly target?: Maybe<string>;
    readonly arguments?: Maybe<readonly Setting[]>;
    readonly values?: Maybe<readonly Setting[]>;
  }>;
}

/** Any request of scheduleRun, checked, with its defaults. */
export type RunRequest = QuickRequest | TaskRunRequest;

/** The definition of a pre-created task, checked, with its defaults. */
export interface TaskDefinition {
  readonly location: string;
  readonly tags?: Maybe<Readonly<Record<string, string>>>;
  readonly identity?: Maybe<{
    readonly type: "SystemAssigned" | "UserAssigned" | "SystemAssigned, UserAssigned" | "None";
    readonly userAssignedIdentities?: Maybe<Readonly<Record<string, unknown>>>;
  }>;
  readonly properties: AgentFields & {
    readonly status?: Maybe<"Enabled" | "Disabled">;
    readonly agentPoolName?: Maybe<string>;
    readonly isSystemTask?: Maybe<boolean>;
    readonly step: { readonly contextPath?: Maybe<string> } & (
      | ({ readonly type: "Docker" } & DockerFields)
      | ({ readonly type: "EncodedTask" } & EncodedFields)
      | ({ readonly type: "FileTask" } & FileFields)
    );
  };
}
