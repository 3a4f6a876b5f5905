import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

const folder = new URL("../", import.meta.url);
/** Without what the formatter decides. */
const bare = (text: string) => text.replace(/\s+/g, "").replace(/,(?=[)\]}])/g, "");
const examples = readdirSync(new URL("examples/", folder)).map((name) =>
  bare(readFileSync(new URL(`examples/${name}`, folder), "utf8")),
);

/** The TypeScript of a page. */
function blocks(page: string): string[] {
  const text = readFileSync(new URL(page, folder), "utf8");
  return [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, block = ""]) => block);
}

describe.each([
  ["README.md", 1],
  ["../../docs/guide/typescript.md", 6],
  ["../../docs/guide/functions.md", 1],
])("what %s shows", (page, least) => {
  const all = blocks(page);
  test("is something", () => expect(all.length).toBeGreaterThanOrEqual(least));
  test.each(all)("is in a file that is compiled and run: %s", (block) => {
    expect(examples.some((example) => example.includes(bare(block)))).toBe(true);
  });
});
