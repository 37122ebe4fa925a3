// What the demo tells whoever shows it: one JSON object a line.

/** Names of the demo's steps, in order. */
export type DemoStep = "stack" | "images" | "release 1" | "release 2" | "control" | "release 3";

/** One ring of a release as the demo saw it end. */
export interface DemoStage {
  readonly ring: string;
  readonly devices: number;
  readonly running: number;
  readonly state: string;
  readonly reason: string;
}

/** What the demo found; its JSON form is the demo's last line. */
export interface DemoResult {
  readonly device: {
    /** Bytes on the wire of a device that holds version 1 and pulls version 2 as it was pushed, counted by the registry. */
    readonly fullBytes: number;
    /** The same of the rebased image: the most that any device of the fleet needed. */
    readonly rebasedBytes: number;
  };
  readonly deltaLayerBytes: number;
  readonly verified: string;
  readonly layers: { readonly candidate: number; readonly rebased: number };
  readonly stages: readonly DemoStage[];
  readonly rollback: {
    readonly release: string;
    readonly state: string;
    readonly reason: string;
    readonly exposedDevices: number;
    /** Bytes that devices beyond the canary ring pulled of the broken version; 0 when they were left alone. */
    readonly bytesBeyondCanary: number;
    /** Devices beyond the canary ring that still run what they ran before. */
    readonly untouchedDevices: number;
    readonly restoredDevices: number;
  };
  readonly fleet: readonly {
    readonly devices: number;
    readonly fullBytes: number;
    readonly rebasedBytes: number;
    readonly fullCost: string;
    readonly rebasedCost: string;
  }[];
  readonly statusUrl: string;
  /** Wall seconds per step. */
  readonly seconds: Readonly<Record<string, number>>;
}

/** One line of the demo's output. */
export type DemoEvent =
  | { readonly type: "step"; readonly step: DemoStep; readonly state: "started" | "finished"; readonly detail?: string }
  | { readonly type: "progress"; readonly step: string; readonly done: number; readonly total: number }
  | { readonly type: "waiting"; readonly release: string; readonly state: string; readonly waitsFor: string }
  | { readonly type: "result"; readonly result: DemoResult }
  | { readonly type: "failed"; readonly message: string };
