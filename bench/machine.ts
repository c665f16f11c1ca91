/** The machine in one line, as records name it. */
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, release, tmpdir, totalmem } from "node:os";

export function machineLine(): string {
  const gigabytes = (totalmem() / 2 ** 30).toFixed(0);
  const processor = cpus()[0]?.model ?? "unknown processor";
  const system = `${process.platform} ${release()} ${process.arch}`;
  return `${availableParallelism()} × ${processor}, ${gigabytes} GiB memory, ${system}, data on ${fileSystem()}, Bun ${Bun.version}`;
}

/** The type of the file system of the temporary folder, where the kernel tells. */
function fileSystem(): string {
  if (process.platform !== "linux") return "an unknown file system";
  const mounts = readFileSync("/proc/self/mounts", "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(" "));
  const folder = tmpdir();
  const within = mounts.filter(
    ([, at = ""]) => folder === at || folder.startsWith(at === "/" ? at : `${at}/`),
  );
  within.sort(([, a = ""], [, b = ""]) => a.length - b.length);
  return within.at(-1)?.[2] ?? "an unknown file system";
}
