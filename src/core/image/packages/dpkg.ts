// dpkg: `var/lib/dpkg/status`, or of distroless images one file per package in `var/lib/dpkg/status.d/`.
import { toPackage, type InstalledPackage, type PackageRecords } from "./installed-package.ts";
import { readStanzas, type Stanza } from "./stanzas.ts";

const RECORD = /(?:^|\/)var\/lib\/dpkg\/(?:status|status\.d\/[^/]+(?<!\.md5sums))$/;

/** Reads dpkg's database. */
export const dpkgRecords: PackageRecords = {
  ecosystem: "dpkg",
  isRecord: (path) => RECORD.test(path),
  read(text) {
    const found: InstalledPackage[] = [];
    for (const stanza of readStanzas(text)) found.push(...readStanza(stanza));
    return found;
  },
};

/** Packages whose files are gone may still have a stanza; distroless images leave the status out. */
function readStanza(stanza: Stanza): readonly InstalledPackage[] {
  const isGone = /(?:^| )(?:not-installed|config-files)$/.test(stanza.get("status") ?? "");
  return !isGone ? toPackage("dpkg", stanza.get("package"), stanza.get("version")) : [];
}
