// The distribution: `etc/os-release` or `usr/lib/os-release` (os-release(5)).
import { toPackage, type PackageRecords } from "./installed-package.ts";

const RECORD = /(?:^|\/)(?:etc|usr\/lib)\/os-release$/;

/** Reads which distribution and which version of it an image is made of, e.g. `debian` `12`. */
export const osRecords: PackageRecords = {
  ecosystem: "os",
  isRecord: (path) => RECORD.test(path),
  read(text) {
    const values = new Map(
      text.split("\n").map((line): [string, string] => {
        const [, name = "", , value = ""] = /^([A-Z_]+)=(["']?)(.*)\2\s*$/.exec(line) ?? [];
        return [name, value];
      }),
    );
    const version = values.get("VERSION_ID") ?? values.get("BUILD_ID") ?? values.get("VERSION_CODENAME") ?? "rolling";
    return toPackage("os", values.get("ID") ?? "linux", version);
  },
};
