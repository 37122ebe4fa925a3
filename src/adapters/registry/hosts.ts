// Decides by a registry's host name where its API is, whether plain http is allowed and whether it is an ACR.

/** Docker Hub answers under other names than the one images are written with. */
const DOCKER_HUB_NAMES: ReadonlySet<string> = new Set(["docker.io", "index.docker.io", "registry-1.docker.io"]);

/** The key under which the docker config keeps Docker Hub's credentials. */
export const DOCKER_HUB_CONFIG_KEY = "https://index.docker.io/v1/";

/** ACR's domains and the Entra audience of each cloud (KnownContainerRegistryAudience of `@azure/container-registry`). */
const ACR_AUDIENCES: readonly (readonly [suffix: string, audience: string])[] = [
  [".azurecr.io", "https://containerregistry.azure.net"],
  [".azurecr.cn", "https://management.chinacloudapi.cn"],
  [".azurecr.us", "https://management.usgovcloudapi.net"],
];

/** Whether the registry is Docker Hub under any of its names. */
export function isDockerHub(registry: string): boolean {
  return DOCKER_HUB_NAMES.has(registry);
}

/** Whether a host name (a port may follow) is this machine's own, which is where plain http is allowed. */
function isLoopback(host: string): boolean {
  return /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/i.test(host);
}

/** Whether secrets may be sent to a URL: over TLS, or to this machine. */
export function isPrivate(url: URL): boolean {
  return url.protocol === "https:" || isLoopback(url.host);
}

/** Whether the host is an Azure Container Registry by its name. */
function isAcr(registry: string): boolean {
  return ACR_AUDIENCES.some(([suffix]) => hostOf(registry).endsWith(suffix));
}

/** How a registry is spoken to: `acr` by Microsoft's SDK with an Entra identity, `oci` by the standard API. */
export type RegistryKind = "acr" | "oci";

/** An ACR is spoken to with an Entra identity unless docker holds credentials for it, as it does inside ACR Tasks. */
export function chooseKind(registry: string, hasDockerCredentials: boolean): RegistryKind {
  return isAcr(registry) && !hasDockerCredentials ? "acr" : "oci";
}

/** The Entra audience to ask tokens for; the public cloud's for hosts that are an ACR by configuration only. */
export function acrAudience(registry: string): string {
  const known = ACR_AUDIENCES.find(([suffix]) => hostOf(registry).endsWith(suffix));
  return known?.[1] ?? "https://containerregistry.azure.net";
}

/** The base URL of a registry's API, e.g. `https://registry-1.docker.io` for `docker.io`. */
export function baseUrl(registry: string): URL {
  if (isDockerHub(registry)) return new URL("https://registry-1.docker.io");
  return new URL(`${isLoopback(registry) ? "http" : "https"}://${registry}`);
}

/** Resolves an absolute or relative address; undefined when it is none. */
export function resolveUrl(address: string, base: URL): URL | undefined {
  return URL.parse(address, base.href) ?? undefined;
}

function hostOf(registry: string): string {
  return registry.toLowerCase().replace(/:\d+$/, "");
}
