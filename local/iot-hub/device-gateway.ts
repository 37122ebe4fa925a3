// What a device's edge agent sees of the hub: the contract between local/iot-hub and local/edge-device.

/** The `properties.desired` of a module twin with the service's `$version`; content as in facts of IoT Edge schema 1.1. */
export interface DesiredProperties {
  readonly $version: number;
  readonly [key: string]: unknown;
}

/** What a connected device does when the cloud calls. */
export interface DeviceHandlers {
  /** The merged desired properties of `$edgeAgent`: once on connection, then at every change. Never re-entrant. */
  desired(properties: DesiredProperties): void;
  /** A direct method on a module of the device; resolves to an HTTP-like status and a JSON payload. */
  method?(moduleId: string, name: string, payload: unknown): Promise<{ status: number; payload: unknown }>;
}

/** A device's live connection. */
export interface DeviceConnection {
  /**
   * Merges a patch into the reported properties of a module twin (null deletes a key); throws when they outgrow the
   * 32 KB of a twin. What a closed connection reports is lost.
   */
  report(moduleId: string, patch: Readonly<Record<string, unknown>>): void;
  disconnect(): void;
}

/** The hub's device side: registering devices and connecting them. Objects handed over are shared and must not be mutated. */
export interface DeviceGateway {
  /** Creates the device identity (with `capabilities.iotEdge`) unless it exists; tags as given, at most 8 KB. */
  register(deviceId: string, tags?: Readonly<Record<string, unknown>>): void;
  connect(deviceId: string, handlers: DeviceHandlers): DeviceConnection;
}
