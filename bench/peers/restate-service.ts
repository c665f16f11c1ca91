/**
 * The virtual object of restate.ts: one entity, its newest event and its events in the object's state. A process of its
 * own, as Restate's services are, run by Node from a copy without types: `restate-service.mjs PORT`.
 */

type StoredEvent = Readonly<Record<string, unknown>>;

/** What is used of the SDK. */
interface Context {
  get<Value>(name: string): Promise<Value | null>;
  set<Value>(name: string, value: Value): void;
}
interface Sdk {
  object(options: {
    readonly name: string;
    readonly handlers: Readonly<Record<string, unknown>>;
    readonly options: { readonly enableLazyState: boolean };
  }): unknown;
  readonly handlers: { readonly object: { shared(work: (context: Context) => Promise<unknown>): unknown } };
  serve(options: { readonly services: readonly unknown[]; readonly port: number }): Promise<number>;
}

// The SDK is made for Node 22; this is all of it that Node 20 lacks.
Promise.withResolvers ??= <Value>() => {
  const made = {} as PromiseWithResolvers<Value>;
  made.promise = new Promise<Value>((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
};

/** Not a literal: checks run without the package. */
const sdk = "@restatedev/restate-sdk";
const { object, handlers, serve } = (await import(sdk)) as Sdk;

const entity = object({
  name: "entity",
  handlers: {
    /** Each event is a value of the object's state, under its seq. */
    async append(context: Context, events: readonly StoredEvent[]): Promise<number> {
      let seq = (await context.get<number>("seq")) ?? 0;
      for (const event of events) context.set(`event-${++seq}`, event);
      context.set("seq", seq);
      context.set("newest", events[events.length - 1]);
      return seq;
    },
    read: handlers.object.shared((context) => context.get("newest")),
  },
  // Only what a handler asks for is sent to it, and not all the events that the object has.
  options: { enableLazyState: true },
});

await serve({ services: [entity], port: Number(process.argv[2]) });
