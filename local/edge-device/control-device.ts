// A device without a hub: pulls images by tag into its own store and says what crossed the wire.
import type { DevicePlatform } from "./manifest.ts";
import { openContentStore } from "./content-store.ts";
import type { PulledImage } from "./pull-image.ts";
import { pullImage } from "./pull-image.ts";
import type { RegistryCredential } from "./registry-client.ts";
import { createRegistryClient, deviceUserAgent } from "./registry-client.ts";

/** A device that only pulls. */
export interface ControlDevice {
  /** Pulls an image; `bytesPulled` counts bodies only, the registry counts the wire. @throws PullError */
  pull(reference: string): Promise<PulledImage>;
}

/** The device's name, its disk and what it may pull. */
export interface ControlDeviceOptions {
  readonly deviceId: string;
  readonly folder: string;
  readonly credentials?: readonly RegistryCredential[];
  readonly platform?: DevicePlatform;
}

/** Creates a control device over the content in `folder`. */
export function createControlDevice({
  deviceId,
  folder,
  credentials = [],
  platform,
}: ControlDeviceOptions): ControlDevice {
  const client = createRegistryClient({ userAgent: deviceUserAgent(deviceId), credentials: () => credentials });
  const store = openContentStore(folder);
  return { pull: (reference) => pullImage(reference, { client, store, ...(platform && { platform }) }) };
}
