/**
 * bench/RESULTS.md has several writers. Each owns the part between its two marks and leaves the rest alone.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The parts, in the order in which they stand on the page. */
const order = ["peers", "scenarios", "flat", "budgets"] as const;
export type Section = (typeof order)[number];

const page = join(import.meta.dir, "RESULTS.md");
const intro = `# Measured results

Every part of this page is written by a tool, named in it, from runs on one machine; nothing is written by hand.
What the figures mean, and what limits each, is told in [docs/performance.md](../docs/performance.md).
`;

const beginOf = (section: Section) => `<!-- ${section} begins -->`;
const endOf = (section: Section) => `<!-- ${section} ends -->`;

/** Puts the text into its part of the page (or of another file of that form). */
export function writeSection(section: Section, text: string, path: string = page): void {
  const before = existsSync(path) ? readFileSync(path, "utf8") : "";
  const parts = order.flatMap((name) => {
    const own = name === section ? text.trim() : partOf(before, name);
    return own === undefined ? [] : [`${beginOf(name)}\n\n${own}\n\n${endOf(name)}`];
  });
  writeFileSync(path, `${[intro, ...parts].join("\n")}\n`);
}

/** What stands in a part; undefined when the page has none. */
export function partOf(text: string, section: Section): string | undefined {
  const begin = text.indexOf(beginOf(section));
  const end = text.indexOf(endOf(section));
  return begin < 0 || end < begin ? undefined : text.slice(begin + beginOf(section).length, end).trim();
}
