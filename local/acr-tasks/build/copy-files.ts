// What COPY does to a file tree: a layer with what is copied and the directories above it, and never less than before.
import { createDirectory, type DirectoryNode, stackLayer, type TreeNode } from "../../edge-device/layer-tree.ts";
import { compilePattern, isPattern } from "../dockerfile/match-path.ts";
import { RunError } from "../run-error.ts";
import { enterLayer, findInTree } from "./find-in-tree.ts";

/** One COPY. */
export interface CopyRequest {
  readonly source: DirectoryNode;
  /** Patterns from the source's root. */
  readonly paths: readonly string[];
  /** Absolute; a slash at its end marks a directory. */
  readonly destination: string;
  /** Files of the build context belong to root, those of a stage to whom they belonged. */
  readonly keepOwners: boolean;
  /** The time of the build, which directories get that entries are put into. */
  readonly nowMs: number;
  /** The instruction, for messages. */
  readonly subject: string;
}

/**
 * Copies into `target` and returns the layer that it makes (Dockerfile reference, "COPY").
 *
 * Nothing is ever deleted. Files keep mode and time; directories that something is put into get the time of the build.
 * @throws RunError BUILD_FAILED
 */
export function copyFiles(target: DirectoryNode, request: CopyRequest): DirectoryNode {
  const { destination, nowMs, subject } = request;
  const fail = (got: string): RunError => new RunError("BUILD_FAILED", { operation: "copy", subject, got });
  const sources = request.paths.flatMap((path) => expandPath(request.source, path, fail));
  const found = findInTree(target, destination) ?? failWith(fail(`${destination} is below a file`));
  const isFolder =
    destination.endsWith("/") ||
    found.node?.type === "directory" ||
    sources.length > 1 ||
    sources[0]?.node.type === "directory";
  if (isFolder && found.node !== undefined && found.node.type !== "directory") {
    throw fail(`${destination} is a file`);
  }
  const layer = createDirectory();
  const fresh = (): NonNullable<DirectoryNode["metadata"]> => ({ mode: 0o755, uid: 0, gid: 0, mtimeMs: nowMs });
  const enter = (names: readonly string[]): DirectoryNode => enterLayer(layer, target, names, fresh);
  /** Hard links below one source stay links: there a file is copied once, however many names it has. */
  let copies = new Map<TreeNode, TreeNode>();
  const copyOf = (node: Exclude<TreeNode, DirectoryNode>): TreeNode => {
    const copy = copies.get(node) ?? (request.keepOwners ? { ...node } : { ...node, uid: 0, gid: 0 });
    copies.set(node, copy);
    return copy;
  };
  const existing = (names: readonly string[]): TreeNode | undefined => {
    let node: TreeNode | undefined = target;
    for (const name of names) node = node?.type === "directory" ? node.children.get(name) : undefined;
    return node;
  };
  const touch = (folder: DirectoryNode): void => {
    folder.metadata = { ...(folder.metadata ?? fresh()), mtimeMs: nowMs };
  };
  const put = (folder: DirectoryNode, names: readonly string[], node: TreeNode): void => {
    const path = `/${names.join("/")}`;
    const there = existing(names);
    if (node.type !== "directory") {
      if (there?.type === "directory") throw fail(`cannot overwrite the directory ${path} with a file`);
      folder.children.set(names.at(-1) as string, copyOf(node));
      return;
    }
    if (there !== undefined && there.type !== "directory") throw fail(`cannot overwrite ${path} with a directory`);
    const inner = enter(names);
    const metadata = node.metadata ?? fresh();
    inner.metadata = request.keepOwners ? metadata : { ...metadata, uid: 0, gid: 0 };
    for (const [name, child] of node.children) put(inner, [...names, name], child);
  };

  for (const { name, node } of sources) {
    copies = new Map();
    if (node.type === "directory") {
      const folder = enter(found.names);
      if (node.children.size > 0 || found.node === undefined) touch(folder);
      for (const [childName, child] of node.children) put(folder, [...found.names, childName], child);
    } else {
      const names = isFolder ? [...found.names, name] : found.names;
      if (names.length === 0) throw fail("the root cannot be a file");
      const folder = enter(names.slice(0, -1));
      touch(folder);
      put(folder, names, node);
    }
  }
  stackLayer(target, layer);
  return layer;
}

function failWith(error: RunError): never {
  throw error;
}

interface Source {
  /** The name it gets in a directory. */
  readonly name: string;
  readonly node: TreeNode;
}

/** What a pattern names; a link that it names itself is followed. */
function expandPath(root: DirectoryNode, path: string, fail: (got: string) => RunError): Source[] {
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  let found: { readonly path: string; readonly name: string }[] = [{ path: "", name: "" }];
  for (const name of names) {
    const matcher = isPattern(name)
      ? (compilePattern(name) ?? failWith(fail(`a malformed pattern ${name}`)))
      : undefined;
    found = found.flatMap(({ path: parent }) => {
      if (matcher === undefined) return [{ path: `${parent}/${name}`, name }];
      const here = findInTree(root, parent)?.node;
      const children = here?.type === "directory" ? [...here.children.keys()].sort() : [];
      return children.filter((child) => matcher(child)).map((child) => ({ path: `${parent}/${child}`, name: child }));
    });
  }
  const sources = found.flatMap((candidate) => {
    const node = findInTree(root, candidate.path)?.node;
    return node === undefined ? [] : [{ name: candidate.name, node }];
  });
  if (sources.length === 0) throw fail(`no such file or directory: ${path}`);
  return sources;
}
