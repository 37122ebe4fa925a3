// `lighter releases` and `lighter status`: what was released, how far it is, and what it waits for.
import type { Command } from "commander";
import type { ReleaseView } from "../../core/release/view.ts";
import { wholeNumber } from "../arguments.ts";
import { addApiOptions, callApi, type ApiOptions } from "../api.ts";
import { formatBytes } from "../format.ts";
import { print } from "../image-command.ts";
import type { Paint } from "../paint.ts";

type Row = readonly [string, string];

function paintState(state: string, paint: Paint): string {
  if (state === "completed" || state === "passed") return paint.green(state);
  if (["failed", "rolled-back", "refused"].includes(state)) return paint.red(state);
  return paint.yellow(state);
}

function releaseRows(release: ReleaseView, paint: Paint): Row[] {
  const rows: Row[] = [
    ["release", release.id],
    ["image", `${release.registry}/${release.repository}:${release.tag}\n${paint.dim(release.digest)}`],
    ["state", `${paintState(release.state, paint)}${release.reason === undefined ? "" : `: ${release.reason}`}`],
  ];
  if (release.waitsFor !== undefined) rows.push(["waits for", release.waitsFor]);
  if (release.image !== undefined) {
    const { mode, reference, verified, layers } = release.image;
    rows.push(["deploys", `${mode}, verified ${verified}, ${layers} layers\n${paint.dim(reference)}`]);
  }
  if (release.sizes !== undefined) {
    const { updateBytes, fullBytes } = release.sizes;
    rows.push(["per device", `${formatBytes(updateBytes)} instead of ${formatBytes(fullBytes)}`]);
  }
  if (release.saving !== undefined && release.saving.devices > 0) {
    const { devices, updateCost, fullCost } = release.saving;
    rows.push([`${devices} devices`, `${updateCost.amount} instead of ${fullCost.amount} ${fullCost.currency}`]);
  }
  for (const rollout of Object.values(release.rollouts)) {
    for (const { ring, state, counts, reason } of rollout.stages) {
      const seen =
        counts === undefined ? "" : `, ${counts.running} of ${counts.targeted} run it, ${counts.failed} failed`;
      rows.push([
        `${rollout.hub}/${ring}`,
        `${paintState(state, paint)}${seen}${reason === undefined ? "" : `\n${reason}`}`,
      ]);
    }
    if (rollout.rollback !== undefined) {
      const { state, to, restored, expected, reason } = rollout.rollback;
      rows.push([
        `${rollout.hub}/rollback`,
        `${state}: ${restored ?? 0} of ${expected ?? "?"} back on ${to}\n${reason}`,
      ]);
    }
  }
  return rows;
}

/** Adds `lighter releases`. */
export function addReleasesCommand(program: Command): void {
  const command = program
    .command("releases")
    .description("list releases, newest first")
    .option("--limit <n>", "how many", wholeNumber(1, 100), 20);
  addApiOptions(command).action(async (options: ApiOptions & { readonly limit: number }) => {
    const path = `releases?limit=${options.limit}`;
    const page = (await callApi(options, "GET", path)) as { readonly releases: readonly ReleaseView[] };
    await print(page, options.json, (paint) =>
      page.releases.length === 0
        ? [["releases", "none yet; push an image, or POST one to releases"]]
        : page.releases.map((release) => [
            release.id,
            `${release.tag}  ${paintState(release.state, paint)}  ${paint.dim(release.waitsFor ?? release.reason ?? "")}`,
          ]),
    );
  });
}

/** Adds `lighter status`. */
export function addStatusCommand(program: Command): void {
  const command = program
    .command("status")
    .description("show one release: stages, counts, bytes, money, and what it waits for")
    .argument("<id>", "the release's id, as `lighter releases` lists it");
  addApiOptions(command).action(async (id: string, options: ApiOptions) => {
    const release = (await callApi(options, "GET", `releases/${encodeURIComponent(id)}`)) as ReleaseView;
    await print(release, options.json, (paint) => releaseRows(release, paint));
  });
}
