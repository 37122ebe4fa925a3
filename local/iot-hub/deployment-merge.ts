// Merges a base deployment and the layered ones above it into the desired properties of a device's modules.
import type { DeploymentContent } from "./deployment-content.ts";
import { EMPTY, type JsonObject, deepFreeze, isObject, setPath, sizeOf } from "./json.ts";

/** The desired properties of every module of a device, by module id; frozen and shared between devices. */
export type MergedContent = ReadonlyMap<string, JsonObject>;

const MAX_SECTION_BYTES = 32 * 1024;

/**
 * Merges deployments in the order given, later ones over earlier ones: a whole section or a dotted path replaces what
 * was there. Modules that `$edgeAgent` names without a section of their own get an empty one. Undefined when a
 * section outgrows the 32 KB of a twin.
 */
export function mergeDeployments(deployments: readonly DeploymentContent[]): MergedContent | undefined {
  const merged = new Map<string, JsonObject>();
  for (const { entries } of deployments) {
    for (const { moduleId, path, value } of entries)
      merged.set(moduleId, setPath(merged.get(moduleId) ?? EMPTY, path, value));
  }
  const modules = merged.get("$edgeAgent")?.["modules"];
  for (const name of isObject(modules) ? Object.keys(modules) : []) if (!merged.has(name)) merged.set(name, EMPTY);
  for (const section of merged.values()) if (sizeOf(section) > MAX_SECTION_BYTES) return undefined;
  for (const section of merged.values()) deepFreeze(section);
  return merged;
}

/** Hands out one object for all equal sections, so that unchanged content is recognised by identity. */
export function createSectionPool(): (content: MergedContent) => MergedContent {
  const byText = new Map<string, JsonObject>();
  return (content) => {
    const pooled = new Map<string, JsonObject>();
    for (const [moduleId, section] of content) {
      const text = JSON.stringify(section);
      const known = byText.get(text);
      if (known === undefined) byText.set(text, section);
      pooled.set(moduleId, known ?? section);
    }
    return pooled;
  };
}
