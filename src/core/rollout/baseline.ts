// Finds, among a hub's deployments, the content that a product's module has today.
import type { Deployment, ModuleContent } from "./deployment.ts";

/** The parts of a hub's deployment that matter here. */
export interface ExistingDeployment {
  readonly id: string;
  readonly priority: number;
  readonly content: Deployment["content"];
}

/** A module's content and the deployment that defines it. */
export interface FoundModule {
  readonly module: ModuleContent;
  readonly deploymentId: string;
}

function moduleOf({ content }: ExistingDeployment, moduleName: string): ModuleContent | undefined {
  const agent = content.modulesContent["$edgeAgent"] ?? {};
  const layered = agent[`properties.desired.modules.${moduleName}`];
  const desired = agent["properties.desired"] as { modules?: Record<string, unknown> } | undefined;
  return (layered ?? desired?.modules?.[moduleName]) as ModuleContent | undefined;
}

/** The module as the deployment of highest priority defines it, layered or in a full manifest; undefined if none does. */
export function findModule(deployments: readonly ExistingDeployment[], moduleName: string): FoundModule | undefined {
  for (const deployment of deployments.toSorted((a, b) => b.priority - a.priority)) {
    const module = moduleOf(deployment, moduleName);
    if (module !== undefined) return { module, deploymentId: deployment.id };
  }
  return undefined;
}
