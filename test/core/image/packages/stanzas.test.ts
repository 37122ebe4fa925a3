// Stanzas of fields: what divides them, what continues a line, what is passed over.
import { describe, expect, test } from "vitest";
import { readStanzas } from "../../../../src/core/image/packages/stanzas.ts";

const read = (text: string) => [...readStanzas(text)].map((stanza) => Object.fromEntries(stanza));

describe("stanzas", () => {
  test("are divided by empty lines, fields by the first colon", () => {
    expect(read("A: 1\nB:2:3 \n\n\nA: 4")).toEqual([{ a: "1", b: "2:3" }, { a: "4" }]);
    expect(read("A: 1\r\n\r\nA: 2\r\n")).toEqual([{ a: "1" }, { a: "2" }]);
    expect(read("")).toEqual([]);
  });

  test("leave out continuation lines, later repetitions and what is no field", () => {
    expect(read("A: 1\n B: 2\n\tC: 3\nno field\nA: 9\nD:\n")).toEqual([{ a: "1", d: "" }]);
  });
});
