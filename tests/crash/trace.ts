/**
 * What a process did to the files of a directory, recorded with strace, and what it said on its standard output.
 *
 * - Every write with its bytes, in the order in which the calls began; a call also has the line at which it ended, because
 *   threads write at the same time and a sync covers only what had ended before it began.
 * - Files are named by the path that they had when the call was made.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type TracedCall = { readonly start: number; readonly end: number } & (
  | { readonly kind: "said"; readonly text: string }
  | { readonly kind: "open"; readonly path: string; readonly truncates: boolean }
  | { readonly kind: "write"; readonly path: string; readonly offset: number; readonly bytes: Buffer }
  | { readonly kind: "truncate"; readonly path: string; readonly size: number }
  | { readonly kind: "sync"; readonly path: string }
  | { readonly kind: "rename"; readonly path: string; readonly to: string }
  | { readonly kind: "unlink"; readonly path: string }
  | { readonly kind: "mkdir"; readonly path: string }
);

const tracedNames = [
  ...["openat", "open", "write", "pwrite64", "writev", "pwritev", "pwritev2", "ftruncate", "fallocate"],
  ...["fsync", "fdatasync", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat"],
  ...["copy_file_range", "sendfile", "close"],
];

/** Why nothing can be traced here; undefined when it can. */
export function whyNoTrace(): string | undefined {
  if (Bun.which("strace") === null) return "strace is not installed";
  const run = Bun.spawnSync(["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "true"]);
  return run.exitCode === 0 ? undefined : `strace does not work here: ${run.stderr.toString().trim()}`;
}

/** Runs a command to its end; `under` is the directory of interest. */
export async function traced(command: readonly string[], under: string): Promise<TracedCall[]> {
  const directory = mkdtempSync(join(tmpdir(), "warp-trace-"));
  try {
    const [trace, output] = [join(directory, "trace"), join(directory, "output")];
    const options = ["-f", "--seccomp-bpf", "-y", "-xx", "-s", "16000000", "-e", "signal=none"];
    const names = ["-e", `trace=${tracedNames.join()}`, "-o", trace];
    const child = Bun.spawn(["strace", ...options, ...names, ...command], {
      stdout: Bun.file(output),
      stderr: "inherit",
      env: { ...process.env, NODE_ENV: "production" },
    });
    await child.exited;
    return new TraceReader(under, output).read(readFileSync(trace, "latin1"));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const unfinished = " <unfinished ...>";

class TraceReader {
  readonly #under: string;
  readonly #output: string;
  readonly #calls: TracedCall[] = [];
  /** Offset of the next `write` by descriptor. */
  readonly #offsets = new Map<string, number>();

  constructor(under: string, output: string) {
    this.#under = under;
    this.#output = output;
  }

  read(trace: string): TracedCall[] {
    const begun = new Map<string, { text: string; start: number }>();
    for (const [line, full] of trace.split("\n").entries()) {
      const space = full.indexOf(" ");
      const thread = full.slice(0, space);
      const text = full.slice(space).trimStart();
      if (text.endsWith(unfinished)) {
        begun.set(thread, { text: text.slice(0, -unfinished.length), start: line });
      } else if (text.startsWith("<... ")) {
        const before = begun.get(thread);
        begun.delete(thread);
        const rest = text.slice(text.indexOf(" resumed>") + 9);
        if (before !== undefined) this.#call(before.text + rest, before.start, line);
      } else this.#call(text, line, line);
    }
    return this.#calls.sort((a, b) => a.start - b.start);
  }

  #call(text: string, start: number, end: number): void {
    const name = text.slice(0, text.indexOf("("));
    const equals = text.lastIndexOf(" = ");
    const result = text.slice(equals + 3);
    if (!tracedNames.includes(name) || equals < 0 || result.startsWith("-1")) return;
    const args = text.slice(name.length + 1, equals);
    const strings = [...args.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map((match) => unhex(match[1] ?? ""));
    const descriptor = /^(\d+)<((?:\\x[0-9a-f]{2})*)>/.exec(args);
    const path = descriptor === null ? (strings[0]?.toString() ?? "") : unhex(descriptor[2] ?? "").toString();
    const at = { start, end };
    if (path === this.#output && name.startsWith("write")) {
      this.#calls.push({ ...at, kind: "said", text: Buffer.concat(strings).toString() });
    }
    if (!path.startsWith(`${this.#under}/`) && path !== this.#under) return;
    const fd = descriptor?.[1] ?? "";
    const numbers = args.slice(args.lastIndexOf('"') + 1).match(/\d+/g) ?? [];
    switch (name) {
      case "open":
      case "openat":
        this.#offsets.set(/^\d+/.exec(result)?.[0] ?? "", 0);
        this.#calls.push({ ...at, kind: "open", path, truncates: args.includes("O_TRUNC") });
        break;
      case "write":
      case "writev":
      case "pwrite64":
      case "pwritev":
      case "pwritev2": {
        const bytes = Buffer.concat(strings).subarray(0, Number(/^\d+/.exec(result)?.[0]));
        const isSequential = !name.startsWith("p");
        const offset = isSequential ? (this.#offsets.get(fd) ?? 0) : Number(numbers.at(-1));
        if (isSequential) this.#offsets.set(fd, offset + bytes.length);
        this.#calls.push({ ...at, kind: "write", path, offset, bytes });
        break;
      }
      case "ftruncate":
        this.#calls.push({ ...at, kind: "truncate", path, size: Number(/, (\d+)/.exec(args)?.[1]) });
        break;
      case "fsync":
      case "fdatasync":
        this.#calls.push({ ...at, kind: "sync", path });
        break;
      case "rename":
      case "renameat":
      case "renameat2":
        this.#calls.push({ ...at, kind: "rename", path, to: strings[1]?.toString() ?? "" });
        break;
      case "unlink":
      case "unlinkat":
        this.#calls.push({ ...at, kind: "unlink", path });
        break;
      case "mkdir":
      case "mkdirat":
        this.#calls.push({ ...at, kind: "mkdir", path });
        break;
      case "close":
        break;
      default:
        throw new Error(`a call that the recording does not understand: ${text.slice(0, 200)}`);
    }
  }
}

function unhex(text: string): Buffer {
  return Buffer.from(text.replaceAll("\\x", ""), "hex");
}
