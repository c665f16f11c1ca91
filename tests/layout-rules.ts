/**
 * The rules of the repository's layout as pure functions: text in, complaints out.
 *
 * `layout.test.ts` runs them over the repository, and over small bad inputs to show that each can fail.
 * A complaint is one sentence that starts with the path it is about.
 */
import { basename, dirname, join } from "node:path/posix";

export interface SourceFile {
  /** Relative to the root, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

const atAndBelowActor = ["core", "aggregate", "journal", "shard", "actor"];

/**
 * Which folder of `src` may import which. A folder may always import itself. The files directly in `src` (the
 * executable, the library's names, the wiring) may import anything; of the folders only `cli` may import them.
 */
export const importTable: Readonly<Record<string, readonly string[] | "anything">> = {
  core: [],
  journal: ["core"],
  shard: ["core"],
  aggregate: ["core"],
  actor: ["core", "aggregate", "journal", "shard"],
  subscription: atAndBelowActor,
  projection: atAndBelowActor,
  saga: atAndBelowActor,
  privacy: atAndBelowActor,
  backup: atAndBelowActor,
  retention: atAndBelowActor,
  cluster: atAndBelowActor,
  // The network layer declares the interface of the engine that it needs; it does not know the engine.
  // What event data may be is one rule on both sides of the wire, so that much of `aggregate` is shared.
  net: ["core", "aggregate/json-data", "aggregate/tables"],
  client: ["core", "net/protocol"],
  cli: "anything",
};

export const sourceLinesMax = 400;
export const folderFilesMax = 14;
export const readmeLinesMax = 60;

const importPatterns = [
  /^\s*(?:import|export)\b[^"'`;]*?\bfrom\s*["']([^"']+)["']/gm,
  /^\s*import\s*["']([^"']+)["']/gm,
  /\bimport\(\s*["']([^"']+)["']/g,
  /\bnew URL\(\s*["'](\.[^"']+)["']\s*,\s*import\.meta\.url/g,
];

/** The code without its comments, line for line. Good enough for searching, not for compiling. */
export function withoutComments(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ""))
    .replace(/(^|[\s;{}(),])\/\/.*$/gm, "$1");
}

/** What a file imports, loads lazily or starts as a Worker, as written. */
export function specifiersOf(text: string): string[] {
  const code = withoutComments(text);
  return importPatterns.flatMap((pattern) => [...code.matchAll(pattern)].map((match) => match[1] ?? ""));
}

const isTest = (path: string) => /\.test\.tsx?$/.test(path);
const isSource = (path: string) => /^src\/.*\.tsx?$/.test(path) && !isTest(path);

/** The folder of `src` a path lies in; for a file directly in `src`, the file itself. */
function unitOf(path: string): string {
  return path.split("/")[1] ?? "";
}

const isFolderUnit = (unit: string) => !unit.includes(".");

/** The code without starts of Workers and processes: each is a program of its own, and no import of what starts it. */
function withoutPrograms(text: string): string {
  return text.replace(/\bnew URL\(\s*["'][^"']*-(?:worker|process)\.ts["']/g, "new URL(");
}

function localImports(file: SourceFile): string[] {
  return specifiersOf(file.text)
    .filter((specifier) => specifier.startsWith("."))
    .map((specifier) => join(dirname(file.path), specifier));
}

/** Imports between the folders of `src` that `importTable` does not allow. Tests may import what they need. */
export function forbiddenImports(files: readonly SourceFile[]): string[] {
  const complaints: string[] = [];
  for (const file of files.filter(({ path }) => isSource(path))) {
    const from = unitOf(file.path);
    if (!isFolderUnit(from)) continue;
    const allowed = importTable[from];
    if (allowed === undefined) {
      complaints.push(`${file.path} lies in src/${from}, which the import table does not name`);
      continue;
    }
    for (const target of localImports(file)) {
      if (!target.startsWith("src/")) {
        if (target !== "package.json")
          complaints.push(`${file.path} imports ${target}, which is outside src`);
        continue;
      }
      const to = unitOf(target);
      if (to === from || allowed === "anything") continue;
      if (allowed.some((entry) => to === entry || (target.startsWith(`src/${entry}`) && entry.includes("/"))))
        continue;
      complaints.push(
        `${file.path} imports ${target}, but ${from} may import only ${allowed.join(", ") || "itself"}`,
      );
    }
  }
  return complaints;
}

/**
 * `src/cli/verbs/VERB/…` belongs to `src/cli/verbs/VERB.ts` alone. A folder without such a file holds verbs, which the list of
 * all verbs may import.
 */
export function importsOfAnotherVerbsInternals(files: readonly SourceFile[]): string[] {
  const complaints: string[] = [];
  const paths = new Set(files.map(({ path }) => path));
  for (const file of files.filter(({ path }) => isSource(path))) {
    for (const target of localImports(file)) {
      const verb = /^src\/cli\/verbs\/([^/]+)\//.exec(target)?.[1];
      if (verb === undefined) continue;
      const folder = `src/cli/verbs/${verb}`;
      const owner = paths.has(`${folder}.ts`) ? `${folder}.ts` : "src/cli/verbs.ts";
      if (file.path === owner || file.path.startsWith(`${folder}/`)) continue;
      complaints.push(`${file.path} imports ${target}, which belongs to the verb ${verb}`);
    }
  }
  return complaints;
}

/** Cycles between the folders of `src`; a file directly in `src` counts by itself. */
export function folderCycles(files: readonly SourceFile[]): string[] {
  const edges = new Map<string, Set<string>>();
  for (const file of files.filter(({ path }) => isSource(path))) {
    const from = unitOf(file.path);
    const targets = edges.get(from) ?? new Set();
    edges.set(from, targets);
    for (const target of localImports({ path: file.path, text: withoutPrograms(file.text) })) {
      const to = unitOf(target);
      if (target.startsWith("src/") && to !== from) targets.add(to);
    }
  }
  const cycles = new Set<string>();
  const done = new Set<string>();
  const visit = (unit: string, path: string[]): void => {
    const at = path.indexOf(unit);
    if (at >= 0) {
      cycles.add([...path.slice(at), unit].join(" → "));
      return;
    }
    if (done.has(unit)) return;
    for (const next of edges.get(unit) ?? []) visit(next, [...path, unit]);
    done.add(unit);
  };
  for (const unit of [...edges.keys()].sort()) visit(unit, []);
  return [...cycles].map((cycle) => `src: the folders import in a circle: ${cycle}`);
}

/** Relative imports without a file extension, or with that of compiled output. */
export function importsWithoutExtension(file: SourceFile): string[] {
  if (!/\.tsx?$/.test(file.path)) return [];
  return specifiersOf(file.text)
    .filter((specifier) => /^\.{1,2}(\/|$)/.test(specifier) && !specifier.endsWith("/"))
    .filter((specifier) => !/\.(?!js$|mjs$|cjs$)[a-z]+$/.test(basename(specifier)))
    .map((specifier) => `${file.path} imports "${specifier}"; write the .ts extension`);
}

/** Workers started in another spelling than the one that works from source, in the library and in the binary. */
export function unusualWorkers(file: SourceFile): string[] {
  if (!/^src\/.*\.ts$/.test(file.path)) return [];
  const starts = [...withoutComments(file.text).matchAll(/\bnew Worker\(([^;]{0,120})/g)];
  return starts
    .filter(
      ([, rest]) =>
        !/^\s*new URL\(\s*"\.\/[a-z0-9-]+-worker\.ts",\s*import\.meta\.url\s*,?\s*\)/.test(rest ?? ""),
    )
    .map(() => `${file.path} starts a Worker otherwise than by new URL("./NAME-worker.ts", import.meta.url)`);
}

export function linesOf(text: string): number {
  return text === "" ? 0 : text.replace(/\n$/, "").split("\n").length;
}

/** Source files over `sourceLinesMax`. Exceptions are path → reason. */
export function longFiles(
  files: readonly SourceFile[],
  exceptions: Readonly<Record<string, string>>,
): string[] {
  return files
    .filter(({ path }) => isSource(path) && !(path in exceptions))
    .filter(({ text }) => linesOf(text) > sourceLinesMax)
    .map(({ path, text }) => `${path} has ${linesOf(text)} lines, more than ${sourceLinesMax}`);
}

/** Folders with more than `folderFilesMax` source files. Exceptions are path → reason. */
export function fullFolders(
  paths: readonly string[],
  exceptions: Readonly<Record<string, string>>,
): string[] {
  const counts = new Map<string, number>();
  for (const path of paths.filter(isSource)) {
    counts.set(dirname(path), (counts.get(dirname(path)) ?? 0) + 1);
  }
  return [...counts]
    .filter(([folder, count]) => count > folderFilesMax && !(folder in exceptions))
    .map(([folder, count]) => `${folder} has ${count} source files, more than ${folderFilesMax}`);
}

/** Exceptions that no longer except anything, or give no reason. */
export function staleExceptions(
  exceptions: Readonly<Record<string, string>>,
  complaintsWithout: readonly string[],
): string[] {
  return Object.entries(exceptions).flatMap(([path, reason]) => {
    if (reason.length < 10) return [`${path} is an exception without a reason`];
    if (!complaintsWithout.some((complaint) => complaint.startsWith(`${path} `))) {
      return [`${path} no longer needs its exception`];
    }
    return [];
  });
}

const bannedWords = /^(?:managers?|helpers?|utils?|utilities|commons?)$/;

/** Paths with a word that says nothing. */
export function bannedPaths(paths: readonly string[]): string[] {
  return paths
    .filter((path) => path.split(/[/.\-_]/).some((word) => bannedWords.test(word.toLowerCase())))
    .map((path) => `${path} has a name that does not say what it is for`);
}

const bannedDeclarations: readonly (readonly [RegExp, string])[] = [
  [
    /\b(?:class|interface|type|function|const|let)\s+(?:\w*(?:Manager|Helper|Util)s?|(?:manager|helper|util)s?)\b/,
    "declares a manager, helper or util",
  ],
  [/\binterface\s+I[A-Z][a-z]\w*/, "declares an interface whose name starts with I"],
  [/(?:^|\n)\s*(?:const\s+|declare\s+|export\s+)*enum\s+\w+\s*\{/, "declares an enum"],
];
const defaultExport = /(?:^|\n)\s*export\s+default\b|\bexport\s*\{[^}]*\bas\s+default\b/;

/** Declarations whose name or form is not used here: I-interfaces, enums, default exports (but in `*.config.ts`). */
export function bannedNames(file: SourceFile): string[] {
  if (!/\.tsx?$/.test(file.path)) return [];
  const code = withoutComments(file.text);
  const found = bannedDeclarations.filter(([pattern]) => pattern.test(code)).map(([, what]) => what);
  if (defaultExport.test(code) && !file.path.endsWith(".config.ts")) found.push("has a default export");
  return found.map((what) => `${file.path} ${what}`);
}

const wellKnownNames = new Set(["README.md", "CHANGELOG.md", "LICENSE", "Dockerfile", "RESULTS.md"]);

/** File and folder names that are not kebab-case. */
export function unusualFileNames(paths: readonly string[]): string[] {
  const kebab = /^\.?[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9]+(?:-[a-z0-9]+)*)*$/;
  return paths
    .filter((path) => path.split("/").some((part) => !kebab.test(part) && !wellKnownNames.has(part)))
    .map((path) => `${path} is not in kebab-case`);
}

/** Folders of `src` without a README.md, or with one that is too long. */
export function folderReadmes(files: readonly SourceFile[]): string[] {
  const folders = [...new Set(files.filter(({ path }) => isSource(path)).map(({ path }) => unitOf(path)))];
  return folders.filter(isFolderUnit).flatMap((folder) => {
    const readme = files.find(({ path }) => path === `src/${folder}/README.md`);
    if (readme === undefined) return [`src/${folder} has no README.md`];
    const lines = linesOf(readme.text);
    return lines > readmeLinesMax ? [`${readme.path} has ${lines} lines, more than ${readmeLinesMax}`] : [];
  });
}

function matchingLines(file: SourceFile, pattern: RegExp, what: string): string[] {
  return file.text
    .split("\n")
    .flatMap((line, i) => (pattern.test(line) ? [`${file.path} ${what} in line ${i + 1}`] : []));
}

/** Paths that exist only on the machine of whoever wrote them. */
export function machinePaths(file: SourceFile): string[] {
  return matchingLines(
    file,
    /(?<![\w.})\]*])\/(?:work|home|root)\/|\/tmp\/lab/,
    "names a path of one machine",
  );
}

/** Hosts of package registries: which registry to use is the machine's business. */
export function registryHosts(file: SourceFile): string[] {
  const host = /\bregistry\.[a-z0-9-]+\.[a-z]{2,}|\bnpm\.pkg\.github\.com|"resolved":|^\s*registry\s*=/;
  return matchingLines(file, host, "names a package registry");
}

/** Marks of unfinished work. */
export function unfinishedMarks(file: SourceFile): string[] {
  return matchingLines(file, /\b(?:TODO|FIXME|XXX)\b/, "has a mark of unfinished work");
}

/** Tests that are switched off, or that switch off others. */
export function switchedOffTests(file: SourceFile): string[] {
  if (!/\.tsx?$/.test(file.path)) return [];
  return matchingLines(
    file,
    /\b(?:test|it|describe)(?:\.\w+)*\.(?:skip|only|todo)\b|\bx(?:test|it|describe)\(/,
    "switches tests off",
  );
}

/** Dependencies that are not pinned to one version. */
export function unpinned(dependencies: Readonly<Record<string, string>>): string[] {
  return Object.entries(dependencies)
    .filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))
    .map(([name, version]) => `package.json asks for ${name} ${version}, which is not one exact version`);
}

/** name → version of what a package-lock.json installs, without other platforms' binaries. */
export function npmVersions(lock: string): Map<string, string> {
  const parsed = JSON.parse(lock) as { packages: Record<string, { version?: string }> };
  const versions = new Map<string, string>();
  for (const [path, entry] of Object.entries(parsed.packages)) {
    if (path.startsWith("node_modules/") && entry.version !== undefined) {
      versions.set(path.replaceAll("node_modules/", ""), entry.version);
    }
  }
  return versions;
}

/** name → version of what a bun.lock installs. It is JSON with trailing commas. */
export function bunVersions(lock: string): Map<string, string> {
  const parsed = JSON.parse(lock.replace(/,(\s*[}\]])/g, "$1")) as { packages: Record<string, [string]> };
  return new Map(
    Object.entries(parsed.packages).map(([key, [id]]) => [key, id.slice(id.lastIndexOf("@") + 1)]),
  );
}

/** Packages of which npm and Bun would install different versions. */
export function differingVersions(
  npm: ReadonlyMap<string, string>,
  bun: ReadonlyMap<string, string>,
): string[] {
  return [...new Set([...npm.keys(), ...bun.keys()])]
    .filter((name) => npm.get(name) !== bun.get(name))
    .map(
      (name) => `${name} is ${npm.get(name) ?? "absent"} for npm and ${bun.get(name) ?? "absent"} for Bun`,
    );
}
