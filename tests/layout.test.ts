/**
 * What the repository looks like, as tests. The rules are functions in `layout-rules.ts`; each one is run over the
 * repository, and over small bad inputs to show that it can fail.
 */
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { SourceFile } from "./layout-rules.ts";
import * as rules from "./layout-rules.ts";

/** Source files that may be longer, and why. */
const longFileReasons: Record<string, string> = {};
/** Folders that may hold more files, and why. */
const fullFolderReasons: Record<string, string> = {
  "src/cli/verbs": "a verb is a file, and help lists them all",
  "src/core":
    "what all folders share: one small file for each format and rule, and nothing that belongs together more",
};

const root = join(import.meta.dir, "..");

/** Every file that is, or could be, committed: tracked, or neither tracked nor ignored. */
function repositoryPaths(): string[] {
  const paths = existsSync(join(root, ".git")) && Bun.which("git") !== null ? gitPaths() : walkedPaths();
  return paths.filter((path) => existsSync(join(root, path)) && statSync(join(root, path)).isFile());
}

function gitPaths(): string[] {
  const list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
  // A checkout that belongs to another user, as in a container, is read all the same.
  const git = Bun.spawnSync(["git", "-c", "safe.directory=*", ...list], { cwd: root });
  if (!git.success) throw new Error(`git ls-files failed: ${git.stderr.toString()}`);
  return [...new Set(git.stdout.toString().split("\0").filter(Boolean))].sort();
}

/** The same for an unpacked archive, where there is no git to ask. */
function walkedPaths(): string[] {
  const ignored = /^(?:node_modules|dist|data|coverage|\.git)\/|\.(?:db|log)(?:-\w+)?$/;
  const paths = [...new Bun.Glob("**/*").scanSync({ cwd: root, dot: true })];
  return paths.filter((path) => !ignored.test(path)).sort();
}

function readText(path: string): SourceFile[] {
  const bytes = readFileSync(join(root, path));
  return bytes.includes(0) ? [] : [{ path, text: bytes.toString("utf8") }];
}

const paths = repositoryPaths();
const files = paths.flatMap(readText);
const lockFiles = ["package-lock.json", "bun.lock"];
const ownFiles = ["tests/layout.test.ts", "tests/layout-rules.ts"];
/** The rules and their bad examples contain what they forbid. */
const written = files.filter(({ path }) => !lockFiles.includes(path) && !ownFiles.includes(path));

const textOf = (path: string) => readFileSync(join(root, path), "utf8");
const file = (path: string, text: string): SourceFile => ({ path, text });

describe("imports", () => {
  test("a folder of src imports only what the table allows it", () => {
    expect(rules.forbiddenImports(files)).toEqual([]);

    const core = rules.forbiddenImports([file("src/core/a.ts", `import { b } from "../shard/b.ts";`)]);
    expect(core).toEqual(["src/core/a.ts imports src/shard/b.ts, but core may import only itself"]);
    const bad = [
      file("src/journal/a.ts", `import type { B } from "../shard/b.ts";`),
      file("src/shard/a.ts", `export { b } from "../journal/b.ts";`),
      file("src/actor/a.ts", `import {\n  b,\n  c,\n} from "../net/b.ts";`),
      file("src/saga/a.ts", `const { b } = await import("../projection/b.ts");`),
      file("src/net/a.ts", `import "../actor/b.ts";`),
      file("src/client/a.ts", `import { b } from "../net/server.ts";`),
      file("src/backup/a.ts", `import { b } from "../context.ts";`),
      file("src/core/a.ts", `import { b } from "../../bench/b.ts";`),
      file("src/shard/a.ts", `new Worker(new URL("../journal/journal-worker.ts", import.meta.url))`),
      file("src/misc/a.ts", "export const a = 1;"),
    ];
    for (const one of bad) expect(rules.forbiddenImports([one])).toHaveLength(1);
  });

  test("what the table allows, and comments, are no complaint", () => {
    const good = [
      file("src/actor/a.ts", `import { b } from "../shard/b.ts";\nimport { c } from "./c.ts";`),
      file("src/client/a.ts", `import { frame } from "../net/protocol.ts";`),
      file("src/client/b.ts", `import { frame } from "../net/protocol/frame.ts";`),
      file(
        "src/cli/serve.ts",
        `import { start } from "../context.ts";\nimport info from "../../package.json";`,
      ),
      file("src/context.ts", `import { b } from "./net/b.ts";`),
      file("src/core/a.test.ts", `import { b } from "../shard/b.ts";`),
      file("src/core/a.ts", `// import { b } from "../shard/b.ts";\n/* import "../shard/b.ts"; */`),
    ];
    expect(rules.forbiddenImports(good)).toEqual([]);
  });

  test("the internals of a verb of the command line are imported by that verb only", () => {
    expect(rules.importsOfAnotherVerbsInternals(files)).toEqual([]);

    const internal = `import { b } from "./load/report.ts";`;
    const load = file("src/cli/verbs/load.ts", internal);
    expect(rules.importsOfAnotherVerbsInternals([load, file("src/cli/verbs/load/run.ts", "")])).toEqual([]);
    const bad = [
      file("src/cli/verbs/serve.ts", internal),
      file("src/cli/verbs/serve/run.ts", `import { b } from "../load/report.ts";`),
      file("src/cli/verbs.ts", `import { b } from "./verbs/load/report.ts";`),
      file("src/warp.ts", `import { b } from "./cli/verbs/load/report.ts";`),
    ];
    for (const one of bad) expect(rules.importsOfAnotherVerbsInternals([load, one])).toHaveLength(1);
  });

  test("verbs that lie in a folder together are imported by the list of verbs only", () => {
    const list = file("src/cli/verbs.ts", `import { b } from "./verbs/keys/rotate.ts";`);
    expect(rules.importsOfAnotherVerbsInternals([list])).toEqual([]);
    const other = file("src/cli/verbs/serve.ts", `import { b } from "./keys/rotate.ts";`);
    expect(rules.importsOfAnotherVerbsInternals([other])).toHaveLength(1);
  });

  test("the folders of src do not import in a circle", () => {
    expect(rules.folderCycles(files)).toEqual([]);

    const circle = [
      file("src/a/x.ts", `import { y } from "../b/y.ts";`),
      file("src/b/y.ts", `import { z } from "../c/z.ts";`),
      file("src/c/z.ts", `import { x } from "../a/x.ts";`),
    ];
    expect(rules.folderCycles(circle)).toEqual(["src: the folders import in a circle: a → b → c → a"]);
    expect(rules.folderCycles(circle.slice(0, 2))).toEqual([]);
  });

  test("a relative import names its file with the extension", () => {
    expect(files.flatMap(rules.importsWithoutExtension)).toEqual([]);

    for (const specifier of ["./b", "../b.js", "..", "./b.test"]) {
      const complaints = rules.importsWithoutExtension(file("src/a.ts", `import { b } from "${specifier}";`));
      expect(complaints).toHaveLength(specifier === "./b.test" ? 0 : 1);
    }
    expect(rules.importsWithoutExtension(file("src/a.ts", `import "./b.ts"; import "bun:test";`))).toEqual(
      [],
    );
  });

  test("a Worker is started in the one spelling that also works in the compiled binary", () => {
    expect(files.flatMap(rules.unusualWorkers)).toEqual([]);

    for (const argument of [
      `"./src/journal/journal-worker.ts"`,
      "path",
      `new URL("../journal/journal-worker.ts", import.meta.url)`,
      `new URL("./journal.ts", import.meta.url)`,
    ]) {
      const text = `const worker = new Worker(${argument}, { name: "a" });`;
      expect(rules.unusualWorkers(file("src/journal/a.ts", text))).toHaveLength(1);
    }
    const good = `new Worker(\n  new URL("./journal-worker.ts", import.meta.url), { name: "journal" });`;
    expect(rules.unusualWorkers(file("src/journal/a.ts", good))).toEqual([]);
  });
});

describe("sizes", () => {
  const lines = (count: number) => "x\n".repeat(count);

  test("a source file has at most 400 lines, but for the exceptions that say why", () => {
    expect(rules.longFiles(files, longFileReasons)).toEqual([]);
    expect(rules.staleExceptions(longFileReasons, rules.longFiles(files, {}))).toEqual([]);

    const long = file("src/core/a.ts", lines(401));
    expect(rules.longFiles([long], {})).toEqual(["src/core/a.ts has 401 lines, more than 400"]);
    expect(rules.longFiles([long], { "src/core/a.ts": "a table" })).toEqual([]);
    expect(rules.longFiles([file("src/core/a.ts", lines(400))], {})).toEqual([]);
  });

  test("a folder holds at most 14 source files, but for the exceptions that say why", () => {
    expect(rules.fullFolders(paths, fullFolderReasons)).toEqual([]);
    expect(rules.staleExceptions(fullFolderReasons, rules.fullFolders(paths, {}))).toEqual([]);

    const full = Array.from({ length: 15 }, (_, i) => `src/core/a${i}.ts`);
    expect(rules.fullFolders(full, {})).toEqual(["src/core has 15 source files, more than 14"]);
    expect(rules.fullFolders(full, { "src/core": "a table" })).toEqual([]);
    expect(rules.fullFolders([...full.slice(1), "src/core/a.test.ts", "src/core/README.md"], {})).toEqual([]);
  });

  test("an exception has a reason and is still needed", () => {
    const complaint = "src/core/a.ts has 401 lines, more than 400";
    expect(rules.staleExceptions({ "src/core/a.ts": "one table of codes" }, [complaint])).toEqual([]);
    expect(rules.staleExceptions({ "src/core/a.ts": "long" }, [complaint])).toHaveLength(1);
    expect(rules.staleExceptions({ "src/core/a.ts": "one table of codes" }, [])).toHaveLength(1);
  });

  test("every folder of src has a README.md of at most 60 lines", () => {
    expect(rules.folderReadmes(files)).toEqual([]);

    const source = file("src/core/a.ts", "");
    expect(rules.folderReadmes([source])).toEqual(["src/core has no README.md"]);
    expect(rules.folderReadmes([source, file("src/core/README.md", lines(61))])).toHaveLength(1);
    expect(rules.folderReadmes([source, file("src/core/README.md", lines(60))])).toEqual([]);
  });
});

describe("names", () => {
  test("no file or folder is called manager, helper, utils or common", () => {
    expect(rules.bannedPaths(paths)).toEqual([]);

    const bad = [
      "src/core/utils.ts",
      "src/common/a.ts",
      "src/core/shard-manager.ts",
      "tests/test-helpers.ts",
    ];
    expect(rules.bannedPaths(bad)).toHaveLength(bad.length);
    expect(rules.bannedPaths(["src/core/commonplace.ts", "src/core/limits.ts"])).toEqual([]);
  });

  test("nothing is declared as a manager or helper, an I-interface, an enum or a default export", () => {
    expect(written.flatMap(rules.bannedNames)).toEqual([]);

    const bad = [
      "export class ShardManager {}",
      "const testHelpers = {};",
      "function helper() {}",
      "export interface IShard {}",
      "export enum Kind { a }",
      "const enum Kind { a }",
      "export default class Shard {}",
      "export { shard as default };",
    ];
    for (const text of bad) expect(rules.bannedNames(file("src/core/a.ts", text))).toHaveLength(1);
    const good = ["interface Import {}", "interface Id {}", "interface IOFailure {}", "// export default a;"];
    for (const text of good) expect(rules.bannedNames(file("src/core/a.ts", text))).toEqual([]);
    expect(rules.bannedNames(file("some.config.ts", "export default {};"))).toEqual([]);
  });

  test("file and folder names are in kebab-case", () => {
    expect(rules.unusualFileNames(paths)).toEqual([]);

    const bad = ["src/core/eventLog.ts", "src/Core/a.ts", "src/core/event_log.ts", "docs/Protocol.md"];
    expect(rules.unusualFileNames(bad)).toHaveLength(bad.length);
    const good = ["src/core/event-log.test.ts", "README.md", ".ci/run", "docs/decisions/0001-one-journal.md"];
    expect(rules.unusualFileNames(good)).toEqual([]);
  });
});

describe("texts", () => {
  test("no file names a path that exists on one machine only", () => {
    expect(written.flatMap(rules.machinePaths)).toEqual([]);

    const bad = [`cd /${"work"}/main`, `"/${"root"}/.npmrc"`, `file:///${"home"}/me/a.ts`, `/tmp/${"lab"}`];
    for (const text of bad) expect(rules.machinePaths(file("a.md", text))).toHaveLength(1);
    const good = ["https://example.org/home/a", "./work/a", "../root/a", "the homework/a"];
    for (const text of good) expect(rules.machinePaths(file("a.md", text))).toEqual([]);
  });

  test("no file names the host of a package registry", () => {
    const registryFree = files.filter(({ path }) => !ownFiles.includes(path));
    expect(registryFree.flatMap(rules.registryHosts)).toEqual([]);

    const bad = ["https://registry.example.org/a", `  "resolved": "a",`, "registry=http://localhost:4873"];
    for (const text of bad) expect(rules.registryHosts(file(".npmrc", text))).toHaveLength(1);
    expect(rules.registryHosts(file("a.ts", "registry.get(name)"))).toHaveLength(0);
  });

  test("no file has a mark of unfinished work", () => {
    expect(written.flatMap(rules.unfinishedMarks)).toEqual([]);

    for (const mark of ["TODO", "FIXME", "XXX"]) {
      expect(rules.unfinishedMarks(file("a.ts", `// ${mark}: later`))).toHaveLength(1);
    }
    expect(rules.unfinishedMarks(file("a.sh", "mktemp /tmp/a.XXXXXX"))).toEqual([]);
  });

  test("no test is switched off and none switches off others", () => {
    expect(written.flatMap(rules.switchedOffTests)).toEqual([]);

    const bad = ["test.skip(", "describe.only(", "test.todo(", "it.skip(", "test.concurrent.only(", "xtest("];
    for (const call of bad) expect(rules.switchedOffTests(file("a.test.ts", `${call}"a")`))).toHaveLength(1);
    expect(rules.switchedOffTests(file("a.ts", "reader.skip(4); set.only(1)"))).toEqual([]);
  });
});

describe("dependencies", () => {
  const manifest = JSON.parse(textOf("package.json")) as {
    dependencies: Record<string, string>;
    devDependencies: Record<string, string>;
  };
  const dependencies = { ...manifest.dependencies, ...manifest.devDependencies };

  test("every dependency is pinned to one version", () => {
    expect(rules.unpinned(dependencies)).toEqual([]);

    expect(rules.unpinned({ a: "^1.0.0", b: "latest", c: "1.x", d: "1.2.3" })).toHaveLength(3);
  });

  test("npm and Bun install the same versions", () => {
    const npm = rules.npmVersions(textOf("package-lock.json"));
    const bun = rules.bunVersions(textOf("bun.lock"));
    expect(rules.differingVersions(npm, bun)).toEqual([]);
    expect(npm.get("bun")).toBe(Bun.version);

    const other = new Map(npm).set("hono", "0.0.1");
    expect(rules.differingVersions(other, bun)).toHaveLength(1);
  });

  test("the container is built with the pinned Bun", () => {
    expect(textOf("Dockerfile")).toContain(`FROM oven/bun:${dependencies.bun} `);
  });

  test("every dependency has its line in docs/dependencies.md", () => {
    const page = textOf("docs/dependencies.md");
    expect(Object.keys(dependencies).filter((name) => !page.includes(`| \`${name}\` |`))).toEqual([]);
  });
});
