/**
 * The budgets: what each step of a hot path may take, in ns for an event on a machine on which the yardstick (clock.ts) takes
 * 1 µs, and why it takes that at all. A whole is the processor time that an event takes in a run of the path.
 */
export interface Budget {
  readonly step: string;
  readonly ns: number;
  /** What it must touch. */
  readonly why: string;
}

export interface PathBudget {
  readonly title: string;
  /** What the whole is the processor time of. */
  readonly of: string;
  readonly steps: readonly Budget[];
  readonly whole: number;
  /** What a whole has that no step stands for. */
  readonly rest: string;
}

const b = (step: string, ns: number, why: string): Budget => ({ step, ns, why });

const promise = "a promise, its two functions and a turn of the microtasks: a call that waits has these";
const actor =
  "a hash of the id, then the map's bucket, the id and the actor: four lines that 10,000 entities leave cold";
const foldWhy = "the old state, the new one and a call of the application's function";

export const budgets = {
  append: {
    title: "append in process",
    of: "the main thread, 256 callers",
    steps: [
      b("find the actor", 250, actor),
      b(
        "check and encode the data",
        550,
        "a walk over the values, and JSON.stringify: the yardstick's own first half",
      ),
      b("fold the event", 180, foldWhy),
      b("write the record", 450, "160 bytes of shared memory, of which 100 are a text that becomes UTF-8"),
      b("resolve a promise", 130, promise),
    ],
    whole: 3500,
    rest: "the caller; mailbox, turns and wake-ups of the journal; settling's orders; actors and states that are cold once more when they are answered",
  },
  tcp: {
    title: "append over TCP",
    of: "the main threads of server and client, 256 callers",
    steps: [
      b("client: encode the event", 500, "a walk over the values, and JSON.stringify"),
      b(
        "client: write the request",
        130,
        "120 bytes: a text that becomes UTF-8, its length and the entity's number; a 32nd of a frame with type and session",
      ),
      b(
        "both: sockets",
        250,
        "a 64th of two writes, two reads and two wake-ups, and the copies of the kernel: 9 KiB",
      ),
      b(
        "server: read the request",
        250,
        "a text out of UTF-8, checked, two numbers, and the three objects of a request",
      ),
      b(
        "server: parse its data",
        550,
        "a look at each character, two slices and an object: its shape is known",
      ),
      b(
        "server: find the actor",
        100,
        "the connection's table of numbers, handle, actor and state, looked at 32 together: four cold lines, of which several are fetched at a time",
      ),
      b(
        "server: check the data",
        120,
        "a walk over the values and a look for escapes: the text itself is kept",
      ),
      b("server: fold the event", 190, foldWhy),
      b(
        "server: write the record",
        450,
        "190 bytes of shared memory, of which 100 are a text that becomes UTF-8",
      ),
      b("server: write the answer", 40, "24 bytes, four numbers"),
      b("client: read the answer", 60, "four numbers, and the object they make"),
      b("client: resolve a promise", 120, promise),
    ],
    whole: 9500,
    rest: "the caller; the request's own objects on both sides; mailbox, turns and wake-ups; sockets that are not filled with 64 requests",
  },
  batch: {
    title: "an event of a batch of 500 over TCP",
    of: "the main threads of server and client, 16 callers",
    steps: [
      b(
        "client: fill the table",
        220,
        "a walk over four values: two numbers into columns, two texts into pieces",
      ),
      b("client: write the request", 100, "70 bytes: numbers, lengths, and the texts' UTF-8, in one go"),
      b("server: read the request", 15, "a copy of 70 bytes"),
      b("server: read and check the rows", 240, "four values and their object; texts 256 bytes at a time"),
      b("server: fold the events", 50, foldWhy),
      b("server: write the record", 10, "a copy of 70 bytes into shared memory"),
    ],
    whole: 1100,
    rest: "the caller's events, the sockets' copies, garbage, and a 500th of all that a request costs",
  },
  read: {
    title: "read of a state over TCP",
    of: "the main threads of server and client, 256 callers",
    steps: [
      b("client: write the request", 90, "15 bytes: a number"),
      b("both: sockets", 220, "a 64th of two writes, two reads and two wake-ups: 4 KiB"),
      b("server: read the request", 180, "half a dozen numbers"),
      b(
        "server: find the actor",
        100,
        "the connection's table of numbers, handle, actor and state, looked at 32 together: four cold lines, of which several are fetched at a time",
      ),
      b("server: read its state", 140, "handle, actor and state: three cold lines"),
      b("server: write the answer", 350, "a walk over the state, JSON.stringify, and its text as UTF-8"),
      b("client: read the answer", 420, "a text out of UTF-8, and JSON.parse"),
      b("client: resolve a promise", 130, promise),
    ],
    whole: 4600,
    rest: "the caller; the request's own objects on both sides; sockets that are not filled with 64 requests",
  },
  journal: {
    title: "a turn of the journal",
    of: "the journal's thread, 256 callers",
    steps: [
      b(
        "seal and write the block",
        250,
        "a 64th of AES-GCM and of its calls, and of a write of 12 KiB that the operating system takes into memory",
      ),
    ],
    whole: 700,
    rest: "being woken and waking the main thread, once for a turn; with a disk that syncs, its system calls",
  },
  settle: {
    title: "settle",
    of: "the writer, runs of ten events",
    steps: [
      b(
        "gather the records",
        150,
        "160 bytes copied out of shared memory, and a look-up of the entity's chain",
      ),
      b("seal the run", 400, "a tenth of AES-GCM and of its calls, over 1.4 KiB"),
      b(
        "insert the rows",
        600,
        "a tenth of a row of SQLite and of its index entry, and their pages in the WAL",
      ),
    ],
    whole: 2500,
    rest: "the checkpoint that copies the WAL into the file, and what it syncs; pages and keys that 16 shards leave cold",
  },
  replay: {
    title: "replay of the journal",
    of: "the main thread during a start after a kill",
    steps: [
      b("read and open the blocks", 200, "the file's bytes, once through AES-GCM"),
      b("walk the records", 80, "the head of each record and of each part, as objects"),
      b("copy them into the tail", 50, "160 bytes into shared memory, and the tail's index"),
    ],
    whole: 2000,
    rest: "opening files and Workers, which a larger journal shares among more events; the checks and the waits for a tail that is full",
  },
  rebuild: {
    title: "rebuild of a projection",
    of: "all threads",
    steps: [
      b("open the run", 300, "a tenth of AES-GCM and of its calls, over 1.4 KiB"),
      b("decode the event", 480, "a text out of UTF-8, JSON.parse, and the event around it"),
      b("run the handler", 340, "the application's function, and the row it changes"),
      b("write the rows", 60, "a tenth of a row of SQLite: ten events of an entity make one"),
    ],
    whole: 7000,
    rest: "reading the rows of the shards, pages between threads, and what the reader has to look up",
  },
  fanout: {
    title: "push to a subscriber, one of a hundred",
    of: "the main thread beside appends, for each event and subscriber",
    steps: [
      b("encode the push, once for all", 7, "a hundredth of an event's JSON and head"),
      b("write it for a subscriber", 3, "120 bytes copied"),
    ],
    whole: 28,
    rest: "the kernel's copy of the bytes into four sockets, and the turns of a hundred subscriptions",
  },
} satisfies Readonly<Record<string, PathBudget>>;

export type PathName = keyof typeof budgets;
