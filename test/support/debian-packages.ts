// Downloads Debian packages and installs them into folders of their own, the way an image build does.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./run.ts";

/** Packages stay here from one run of the tests to the next. */
const DOWNLOADS = join(tmpdir(), "lighter-debian-packages");

/** The file of a package in the version that the machine's sources offer, downloaded unless it is there already. */
export async function downloadPackage(name: string): Promise<string> {
  const version = /^\s*Candidate: (\S+)/m.exec(await run("apt-cache", ["policy", name]))?.[1] ?? "";
  const file = join(DOWNLOADS, `${name}_${version}.deb`);
  if (existsSync(file)) return file;
  const folder = join(DOWNLOADS, `${name}.${process.pid}`);
  mkdirSync(folder, { recursive: true });
  await run("apt-get", ["-q", "-o", "APT::Sandbox::User=root", "download", name], { cwd: folder });
  const [downloaded = ""] = readdirSync(folder);
  renameSync(join(folder, downloaded), file);
  rmSync(folder, { recursive: true });
  return file;
}

/** What differs in a package built anew: its version, and texts to be replaced in files (paths within the package). */
export interface PackageRebuild {
  readonly version: string;
  readonly edits: Readonly<Record<string, (content: string) => string>>;
}

/** Unpacks a package, changes it, and builds it again under another version. */
export async function rebuildPackage(file: string, target: string, rebuild: PackageRebuild): Promise<void> {
  const tree = `${target}.tree`;
  await run("dpkg-deb", ["--raw-extract", file, tree]);
  const edit = (path: string, change: (content: string) => string): void => {
    const before = readFileSync(join(tree, path), "utf8");
    const after = change(before);
    if (after === before) throw new Error(`rebuild ${file}: ${path} has nothing to change`);
    writeFileSync(join(tree, path), after);
  };
  edit("DEBIAN/control", (control) => control.replace(/^Version: .*$/m, `Version: ${rebuild.version}`));
  for (const [path, change] of Object.entries(rebuild.edits)) edit(path, change);
  await run("dpkg-deb", ["--build", "--root-owner-group", "-Zgzip", "-z1", tree, target]);
  rmSync(tree, { recursive: true });
}

/** Unpacks packages into `root` and records them in dpkg's database there. */
export async function installPackages(files: readonly string[], root: string): Promise<void> {
  mkdirSync(join(root, "var/lib/dpkg"), { recursive: true });
  const stanzas: string[] = [];
  for (const file of files) {
    await run("dpkg-deb", ["--extract", file, root]);
    stanzas.push((await run("dpkg-deb", ["--field", file])).replace("\n", "\nStatus: install ok installed\n"));
  }
  writeFileSync(join(root, "var/lib/dpkg/status"), stanzas.join("\n"));
}

/** The version of a package file. */
export async function versionOf(file: string): Promise<string> {
  return (await run("dpkg-deb", ["--field", file, "Version"])).trim();
}
