/**
 * The Durable Object of workerd.ts: one entity, its events in the SQLite database that it owns. Runs inside workerd.
 */

/** What is used of the runtime. */
interface Storage {
  readonly sql: {
    exec(text: string, ...values: unknown[]): { toArray(): Readonly<Record<string, unknown>>[] };
  };
  transactionSync(work: () => void): void;
}
interface ObjectId {
  readonly id: string;
}
interface Environment {
  readonly ENTITY: {
    idFromName(name: string): ObjectId;
    get(id: ObjectId): { fetch(request: Request): Promise<Response> };
  };
}

export class Entity {
  readonly #storage: Storage;

  constructor({ storage }: { readonly storage: Storage }) {
    this.#storage = storage;
    storage.sql.exec("CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, type TEXT, data TEXT)");
  }

  async fetch(request: Request): Promise<Response> {
    const { sql } = this.#storage;
    if (request.method === "GET") {
      if (request.url.endsWith("/count")) {
        return Response.json(sql.exec("SELECT count(*) AS count FROM events").toArray()[0]);
      }
      const [newest] = sql.exec("SELECT seq, type, data FROM events ORDER BY seq DESC LIMIT 1").toArray();
      return newest === undefined ? new Response(null, { status: 404 }) : Response.json(newest);
    }
    const events = (await request.json()) as readonly { readonly type: string; readonly data: unknown }[];
    this.#storage.transactionSync(() => {
      for (const { type, data } of events) {
        sql.exec("INSERT INTO events (type, data) VALUES (?, ?)", type, JSON.stringify(data));
      }
    });
    // The runtime holds the answer back until what was written is on the disk.
    return new Response(null, { status: 204 });
  }
}

const router = {
  fetch(request: Request, environment: Environment): Promise<Response> {
    const [, name = ""] = new URL(request.url).pathname.split("/");
    return environment.ENTITY.get(environment.ENTITY.idFromName(name)).fetch(request);
  },
};

export { router as handler };
