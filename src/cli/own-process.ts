/**
 * Starting this program again: as a child, or in its own place.
 *
 * How the allocator treats memory that was freed is told by the environment that a process starts with, and by nothing
 * later (docs/decisions/0017-kept-memory.md): a command that runs an engine for long therefore begins once more in its own
 * place, with the same process id, before it has done anything.
 */

/**
 * By default memory goes back to the system a tenth of a second after it was freed, and in pieces of pages that are
 * still in use: under load most of it is needed again at once, page fault by page fault. With these it goes back after ten
 * seconds.
 */
export const memorySettings = { MIMALLOC_PURGE_DELAY: "10000", MIMALLOC_PURGE_HOLES: "0" };

const longVerbs = new Set(["serve", "bench", "import"]);

/** Set to 1 for a server that another process watches over: the end of its standard input ends it. */
export const supervisedVariable = "WARP_SUPERVISED";

/** What the environment says of memory stands. */
export function withMemorySettings(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { ...memorySettings, ...environment };
}

/** Begins the process once more if its command is one that runs an engine for long, and returns otherwise. */
export function beginWithMemorySettings(args: readonly string[], environment: NodeJS.ProcessEnv): void {
  if (process.platform !== "linux" || !longVerbs.has(args[0] ?? "")) return;
  if (Object.keys(memorySettings).every((name) => environment[name] !== undefined)) return;
  const command = ownCommand();
  process.execve?.(process.execPath, [...command, ...args], withMemorySettings(environment));
}

/** What starts this program: the executable alone when it is compiled, else the runtime and the main file. */
export function ownCommand(): string[] {
  return Bun.main.includes("$bunfs") || Bun.main.includes("~BUN")
    ? [process.execPath]
    : [process.execPath, Bun.main];
}
