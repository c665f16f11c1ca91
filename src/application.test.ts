import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadApplication } from "./application.ts";
import { WarpError } from "./core/errors.ts";
import { provideWarpModule } from "./warp-module.ts";

const folder = mkdtempSync(join(tmpdir(), "warp-application-"));
beforeAll(provideWarpModule);
afterAll(() => rmSync(folder, { recursive: true }));

// The words are put together here so that no line of this file is a default export.
const asDefault = ["export", "default"].join(" ");
const counter = (name: string) =>
  `defineAggregate({ name: "${name}", initialState: { n: 0 }, evolve: (state) => ({ n: state.n + 1 }) })`;

function write(name: string, ...lines: string[]): string {
  const path = join(folder, name);
  writeFileSync(path, `${lines.join("\n")}\n`);
  return path;
}

const namesOf = async (path: string) => (await loadApplication(path)).aggregates.map(({ name }) => name);

async function failureOf(path: string): Promise<WarpError> {
  const failure: unknown = await loadApplication(path).then(
    () => undefined,
    (error) => error,
  );
  if (!(failure instanceof WarpError)) throw new Error(`not refused: ${path}`);
  expect(failure.code).toBe("APPLICATION_INVALID");
  return failure;
}

const importWarp = 'import { defineAggregate } from "warp";';

describe("an application", () => {
  test("is a TypeScript module outside any package, with modules of its own beside it", async () => {
    write("name.ts", 'export const name: string = "inner";');
    const path = write(
      "plain.ts",
      importWarp,
      'import { name } from "./name.ts";',
      `export const a = defineAggregate({ name: name as string, initialState: {}, evolve: (state: object) => state });`,
      `export const b = ${counter("b")};`,
      "export const again = b;",
      "export const somethingElse = { name: 5 };",
    );
    expect((await namesOf(path)).sort()).toEqual(["b", "inner"]);
  });

  test("may list its aggregates in its default export, and then those count", async () => {
    const path = write(
      "listed.ts",
      importWarp,
      `export const a = ${counter("a")};`,
      `export const b = ${counter("b")};`,
      `${asDefault} { aggregates: [b] };`,
    );
    expect(await namesOf(path)).toEqual(["b"]);
  });

  test("that lists something else, or exports no aggregate, is refused", async () => {
    const stranger = write("stranger.ts", importWarp, `${asDefault} { aggregates: [${counter("a")}, 5] };`);
    expect((await failureOf(stranger)).message).toContain(
      "aggregates[1] of its default export is no aggregate",
    );
    expect((await failureOf(write("none.ts", "export const a = 1;"))).message).toContain(
      "exports no aggregate",
    );
    expect((await failureOf(join(folder, "nowhere.ts"))).message).toContain("there is no such file");
  });
});

describe("what is wrong with an application is told with file and line", () => {
  test("when it does not parse", async () => {
    const path = write("syntax.ts", importWarp, "", `export const a = ${counter("a").slice(0, -1)};`);
    expect((await failureOf(path)).details).toMatchObject({ file: path, line: 3 });
  });

  test("when a module that it imports does not parse", async () => {
    const inner = write("inner.ts", "export const a = ;");
    const path = write("outer.ts", 'import { a } from "./inner.ts";', "export const b = a;");
    expect((await failureOf(path)).details).toMatchObject({ file: inner, line: 1 });
  });

  test("when it fails while it is loaded", async () => {
    const path = write(
      "throws.ts",
      "",
      'const missing = JSON.parse("null");',
      "export const a = missing.b.c;",
    );
    const failure = await failureOf(path);
    expect(failure.details).toMatchObject({ file: path, line: 3 });
    expect(failure.message).toStartWith(`${path}:3:`);
  });

  test("when an aggregate in it is not right, where it is defined and not where that was noticed", async () => {
    const path = write("definition.ts", importWarp, "", `export const a = ${counter("")};`);
    const failure = await failureOf(path);
    expect(failure.details).toMatchObject({ file: path, line: 3 });
    expect(failure.message).toContain("an aggregate needs a name");
  });

  test("when it imports what is not there", async () => {
    const path = write("missing.ts", 'import { a } from "./nowhere.ts";', "export const b = a;");
    const failure = await failureOf(path);
    expect(failure.details).toMatchObject({ file: path });
    expect(failure.message).toContain("nowhere.ts");
    const stranger = write(
      "stranger-name.ts",
      'import { nothing } from "warp";',
      "export const b = nothing;",
    );
    expect((await failureOf(stranger)).details).toMatchObject({ file: stranger });
  });

  test("when it throws something that is no error", async () => {
    expect((await failureOf(write("text.ts", 'throw "no";'))).message).toEndWith(": no");
  });
});
