/** What `perf script` says, sample by sample. */

export interface Frame {
  readonly address: number;
  readonly symbol: string;
  /** The file that the code is from; of compiled JavaScript it is none. */
  readonly object: string;
}

export interface Sample {
  readonly pid: number;
  readonly tid: number;
  /** ns since the machine's start. */
  readonly at: number;
  /** The innermost first. */
  readonly frames: readonly Frame[];
}

const head = /^\s*(\d+)\/(\d+)\s+([\d.]+):/;
const frame = /^\s*([0-9a-f]+) (.*) \((.*)\)$/;

/** Reads the output of `perf script -F pid,tid,time,ip,sym,dso`. */
export function* samplesOf(text: string): Generator<Sample> {
  for (const block of text.split("\n\n")) {
    const [first = "", ...lines] = block.split("\n").filter((line) => line !== "");
    const found = head.exec(first);
    if (found === null) continue;
    const frames: Frame[] = [];
    for (const line of lines) {
      const [, address = "", symbol = "", object = ""] = frame.exec(line) ?? [];
      if (address !== "") frames.push({ address: Number.parseInt(address, 16), symbol, object });
    }
    if (frames.length === 0) continue;
    yield { pid: Number(found[1]), tid: Number(found[2]), at: Number(found[3]) * 1e9, frames };
  }
}
