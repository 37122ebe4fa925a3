// How many cases each seeded test runs: the issues' full counts in soak, one tenth otherwise.

/** True when the full counts run (`npm run test:soak`). */
export const soak: boolean = process.env["LIGHTER_SOAK"] === "1";

/** The full counts by name; nothing else in the tests decides a count. */
export const FULL_COUNTS = {
  /** Seeded `kill -9` moments during a release and rollout. */
  hostKills: 50,
  /** Seeded `kill -9` moments against the functions host alone. */
  durableKills: 50,
  /** Seeded `kill -9` moments against the registry alone, during pushes. */
  registryKills: 40,
  /** Fuzzed orchestrations run on the functions host and compared with their expected results. */
  fuzzedOrchestrations: 600,
  /** Random pairs of filesystem trees through plan, rebase and verify. */
  treePairs: 1_000,
  /** Random tar archives through writer and reader. */
  tarArchives: 1_000,
  /** Dockerfiles for files of random names, read back by an independent parser. */
  dockerfiles: 5_000,
  /** Random words through the command, the YAML and the templates of a task. */
  taskWords: 5_000,
  /** Random texts through the readers of the embedded ACR Tasks. */
  taskReaders: 10_000,
  /** Damaged Dockerfiles, tasks and command lines thrown at those readers. */
  taskFuzz: 1_000_000,
  /** Random schedules of hub observations through a stage's gate. */
  stageSchedules: 1_000,
  /** Random interleavings of writers at the same documents: events, releases, priorities. */
  interleavings: 400,
  /** Random lives of a module on a device, and random runs of its reports. */
  moduleLives: 1_000,
  /** Random conditions and queries of the embedded IoT Hub against a plain reading of them. */
  hubConditions: 5_000,
  /** Random sets of deployments on the embedded IoT Hub against a plain merge. */
  hubDeployments: 500,
} as const;

/** The number of cases to run now. */
export function count(name: keyof typeof FULL_COUNTS): number {
  return soak ? FULL_COUNTS[name] : Math.ceil(FULL_COUNTS[name] / 10);
}
