// Reads the logins of a run back out of docker's config file.
import { readFileSync } from "node:fs";
import type { RegistryCredential } from "../../edge-device/registry-client.ts";

/** The user names and passwords in `auths`. */
export function readDockerAuth(file: string): RegistryCredential[] {
  const { auths = {} } = JSON.parse(readFileSync(file, "utf8")) as { auths?: Record<string, { auth: string }> };
  return Object.entries(auths).map(([address, { auth }]) => {
    const text = Buffer.from(auth, "base64").toString("utf8");
    const colon = text.indexOf(":");
    return { address, username: text.slice(0, colon), password: text.slice(colon + 1) };
  });
}
