// apk: Alpine's `lib/apk/db/installed` (also below `usr/`), stanzas of one-letter fields.
import { toPackage, type PackageRecords } from "./installed-package.ts";

const RECORD = /(?:^|\/)lib\/apk\/db\/installed$/;

/** Reads apk's database; letters mean other things in lower case, so fields are read as they are. */
export const apkRecords: PackageRecords = {
  ecosystem: "apk",
  isRecord: (path) => RECORD.test(path),
  read: (text) =>
    text
      .split(/\n\n+/)
      .flatMap((stanza) => toPackage("apk", /^P:(.*)$/m.exec(stanza)?.[1], /^V:(.*)$/m.exec(stanza)?.[1])),
};
