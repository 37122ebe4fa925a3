// npm: the `package.json` at the top of every package within `node_modules`.
import { parseObject, toPackage, type PackageRecords } from "./installed-package.ts";

const RECORD = /(?:^|\/)node_modules\/(?:@[^/]+\/)?[^/@.][^/]*\/package\.json$/;

/** Reads installed npm packages. */
export const npmRecords: PackageRecords = {
  ecosystem: "npm",
  isRecord: (path) => RECORD.test(path),
  read(text) {
    const { name, version } = parseObject(text) ?? {};
    return toPackage("npm", name, version);
  },
};
