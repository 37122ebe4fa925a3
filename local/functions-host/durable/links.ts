// The URLs through which clients manage orchestrations, and the data of the `durableClient` input binding.

/** What the URLs are made of. */
export interface LinkOptions {
  /** The webhook's base, e.g. `http://127.0.0.1:7071/runtime/webhooks/durabletask`. */
  readonly baseUrl: string;
  /** The base for calls from the app's own process, ends in a slash. */
  readonly rpcBaseUrl: string;
  readonly taskHub: string;
  /** The system key `durabletask_extension`. */
  readonly key: string;
}

/** What a client is told about one instance. */
export interface ManagementLinks {
  readonly id: string;
  readonly statusQueryGetUri: string;
  readonly sendEventPostUri: string;
  readonly terminatePostUri: string;
  readonly rewindPostUri: string;
  readonly purgeHistoryDeleteUri: string;
  readonly restartPostUri: string;
  readonly suspendPostUri: string;
  readonly resumePostUri: string;
}

function requiredQuery({ taskHub, key }: LinkOptions): string {
  return `taskHub=${taskHub}&connection=Storage&code=${key}`;
}

/** The management URLs of an instance; the id goes in as it is, so that it may be a placeholder. */
export function managementLinks(options: LinkOptions, id: string): ManagementLinks {
  const instance = `${options.baseUrl}/instances/${id}`;
  const query = requiredQuery(options);
  return {
    id,
    statusQueryGetUri: `${instance}?${query}`,
    sendEventPostUri: `${instance}/raiseEvent/{eventName}?${query}`,
    terminatePostUri: `${instance}/terminate?reason={text}&${query}`,
    rewindPostUri: `${instance}/rewind?reason={text}&${query}`,
    purgeHistoryDeleteUri: `${instance}?${query}`,
    restartPostUri: `${instance}/restart?${query}`,
    suspendPostUri: `${instance}/suspend?reason={text}&${query}`,
    resumePostUri: `${instance}/resume?reason={text}&${query}`,
  };
}

/** The JSON text of the `durableClient` binding; `INSTANCEID` is what the library replaces. */
export function clientBindingData(options: LinkOptions): string {
  const query = requiredQuery(options);
  const create = `${options.baseUrl}/orchestrators/{functionName}[/{instanceId}]`;
  return JSON.stringify({
    taskHubName: options.taskHub,
    creationUrls: {
      createNewInstancePostUri: `${create}?code=${options.key}`,
      createAndWaitOnNewInstancePostUri: `${create}?timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}&code=${options.key}`,
    },
    managementUrls: managementLinks(options, "INSTANCEID"),
    baseUrl: options.baseUrl,
    requiredQueryStringParameters: query,
    rpcBaseUrl: options.rpcBaseUrl,
  });
}
