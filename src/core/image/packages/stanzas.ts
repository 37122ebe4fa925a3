// Reads stanzas of `Field: value` lines, as RFC 822 headers, Debian's control files and apk's database have them.

/** The first line of each field's value, by the field's name in lower case. */
export type Stanza = ReadonlyMap<string, string>;

const FIELD = /^([^\s:]+):(.*)$/;

/** Yields stanzas, which empty lines divide; continuation lines and lines that are no field are passed over. */
export function* readStanzas(text: string): Generator<Stanza> {
  let stanza = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    if (line === "") {
      if (stanza.size > 0) yield stanza;
      stanza = new Map();
      continue;
    }
    const [, name, value = ""] = FIELD.exec(line) ?? [];
    if (name !== undefined && !stanza.has(name.toLowerCase())) stanza.set(name.toLowerCase(), value.trim());
  }
  if (stanza.size > 0) yield stanza;
}
