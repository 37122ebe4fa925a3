// How the registry treats tasks: as any, closed to tasks, behind a firewall, or with permissions by repository.

/** Restrictions of the registry that runs meet; what is left out does not restrict. */
export interface RegistryRules {
  /** False: no run is accepted, as in free subscriptions (`TasksOperationsNotAllowed`). */
  readonly tasksAllowed?: boolean;
  /**
   * Set: the registry lets in known addresses only. Shared agents are denied, except for a task that logs in with its
   * system-assigned identity while `bypassForTasks` (the registry's `networkRuleBypassAllowedForTasks`) is true. Agent
   * pools are inside.
   */
  readonly network?: { readonly bypassForTasks: boolean };
  /** True: permissions by repository (ABAC): nobody logs in but who `credentials.sourceRegistry.identity` names. */
  readonly abac?: boolean;
}

/** Who logs in to the source registry: an identity's name, or nobody. */
type SourceIdentity = "[default]" | "[caller]" | "[system]" | (string & {});

/** The login of a run to its registry: an identity, nobody, or a denial with the words of the registry. */
export type SourceLogin =
  | { readonly kind: "identity"; readonly identity: SourceIdentity }
  | { readonly kind: "none" }
  | { readonly kind: "denied"; readonly reason: string };

/** What of a run decides about its login. */
export interface LoginFacts {
  readonly loginServer: string;
  readonly loginMode: "None" | "Default" | undefined;
  /** `credentials.sourceRegistry.identity`, or that of the custom credentials for the registry itself. */
  readonly identity: string | undefined;
  /** Whether the run belongs to a task with a system-assigned identity. */
  readonly hasSystemIdentity: boolean;
  readonly inAgentPool: boolean;
}

/** Decides how a run logs in to its own registry. */
export function decideLogin(rules: RegistryRules, facts: LoginFacts): SourceLogin {
  const { loginServer, loginMode, hasSystemIdentity, inAgentPool } = facts;
  const asked = facts.identity === "system" ? "[system]" : facts.identity;
  if (asked === "[system]" && !hasSystemIdentity) {
    return { kind: "denied", reason: "failed to resolve secrets: the run has no system-assigned identity" };
  }
  if (rules.network !== undefined && !inAgentPool && !(asked === "[system]" && rules.network.bypassForTasks)) {
    const reason = `Error response from daemon: Get "https://${loginServer}/v2/": denied: client with IP '203.0.113.10' is not allowed access. Refer https://aka.ms/acr/firewall to grant access.`;
    return { kind: "denied", reason };
  }
  if (asked !== undefined && asked !== "none") return { kind: "identity", identity: asked };
  if (rules.abac === true) {
    const reason = `Error response from daemon: Get "https://${loginServer}/v2/": unauthorized: authentication required`;
    return { kind: "denied", reason };
  }
  return loginMode === "None" || asked === "none" ? { kind: "none" } : { kind: "identity", identity: "[default]" };
}
