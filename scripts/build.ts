/**
 * Compiles `dist/warp`, the single executable: server, cluster peer and command line.
 *
 * - The entry is `src/main.ts`; every `src/**\/*-worker.ts` is an entry too, because a compiled binary holds only
 *   the Workers that were named to the compiler.
 * - All entries land in one flat folder inside the binary, next to the main bundle. So one spelling starts a Worker
 *   from source, from a library and from the binary: `new Worker(new URL("./journal-worker.ts", import.meta.url))`.
 *   It needs file names of Workers to be unique; this script refuses a clash.
 * - The binary reads no `.env` and no `bunfig.toml` from the directory it is started in.
 *
 * `bun scripts/build.ts [--target=bun-linux-arm64] [--outfile=dist/warp]`
 */
import { mkdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { parseArgs } from "node:util";

const root = dirname(import.meta.dir);
const main = "src/main.ts";

/** The paths of all Workers, relative to the root; throws when two share a file name. */
export async function findWorkers(folder: string): Promise<string[]> {
  const workers = (await Array.fromAsync(new Bun.Glob("src/**/*-worker.ts").scan({ cwd: folder }))).sort();
  const names = workers.map((path) => basename(path));
  const clash = workers.find((path, i) => names.indexOf(basename(path)) !== i);
  if (clash !== undefined) throw new Error(`two Workers are named ${basename(clash)}; give one another name`);
  return workers;
}

async function build(outfile: string, target: string | undefined): Promise<void> {
  if (!(await Bun.file(join(root, main)).exists())) throw new Error(`${main} does not exist`);
  const workers = await findWorkers(root);
  const staging = join(dirname(outfile), `.build-${process.pid}`);
  const staged = join(staging, basename(outfile));
  await mkdir(staging, { recursive: true });
  try {
    const result = await Bun.build({
      entrypoints: [main, ...workers].map((path) => join(root, path)),
      naming: { entry: "[name].[ext]" },
      format: "esm",
      bytecode: true,
      // Names of functions stay: they are what a stack trace from the field is read by.
      minify: { syntax: true, whitespace: true, identifiers: false },
      sourcemap: "inline",
      compile: {
        outfile: staged,
        autoloadDotenv: false,
        autoloadBunfig: false,
        autoloadTsconfig: false,
        autoloadPackageJson: false,
        ...(target === undefined ? {} : { target: target as Bun.Build.CompileTarget }),
      },
    });
    if (!result.success) throw new AggregateError(result.logs, "the build failed");
    // A running server keeps its old file: the new one takes the name in one step.
    await rename(staged, outfile);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
  const megabytes = (Bun.file(outfile).size / 1e6).toFixed(0);
  console.log(`${outfile.replace(`${root}/`, "")}: ${megabytes} MB, ${workers.length} Workers`);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { target: { type: "string" }, outfile: { type: "string", default: join(root, "dist/warp") } },
  });
  await build(values.outfile, values.target);
}
