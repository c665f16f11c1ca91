/**
 * Numbers for entities on a connection: as a peer in another language uses them, in the client, and beside what they stand for
 * leaving memory, being erased or being called by others.
 */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "../../src/client/index.ts";
import { start } from "../../src/index.ts";
import { frameOf, jsonValue, RawPeer } from "./raw-peer.ts";
import { counter, serveContext, smallSettings } from "./served-context.ts";

const added = (by: number) => ({ type: "Added", data: { by } });

test("a number stands for the entity in every request that takes one, until it is told anew", async () => {
  const served = await serveContext();
  const peer = await RawPeer.greeted(served.tcp.port);
  const ask = async (...request: unknown[]) => {
    peer.send(frameOf([0, ...request]));
    const [kind, id, result] = (await peer.next()) ?? [];
    expect(id).toBe(request[0]);
    // Of an outcome, what does not depend on the shard.
    return [kind, Array.isArray(result) ? result.slice(0, 4) : result];
  };
  expect(await ask(2, 7, [5, "alice"])).toEqual([1, 0]);
  expect(await ask(3, 1, 5, "Added", jsonValue([{ by: 4 }]))).toEqual([1, [0, 1, 1, 1]]);
  expect(await ask(4, 2, 5, "add", jsonValue({ by: 3 }))).toEqual([1, [0, 2, 2, 1]]);
  expect(await ask(5, 3, 5)).toEqual([1, [2, jsonValue({ sum: 7, times: 2 })]]);
  expect(await ask(6, 7, 5)).toEqual([1, 2]);
  expect(await ask(7, 7, "alice")).toEqual([1, 2]);
  // Told with a request that is refused, it stands all the same.
  expect(await ask(8, 1, [5, "bob"], "Added", jsonValue({}))).toEqual([2, "INVALID_ARGUMENT"]);
  expect(await ask(9, 1, 5, "Added", jsonValue([{ by: 1 }]))).toEqual([1, [0, 1, 1, 1]]);
  expect(await served.warp.entity("bob").seq()).toBe(1);
  expect(await ask(10, 7, [6, ""])).toEqual([2, "INVALID_ARGUMENT"]);
  expect(await ask(11, 7, 5)).toEqual([1, 1]);

  const other = await RawPeer.greeted(served.tcp.port);
  other.send(frameOf([0, 2, 7, 5]));
  expect((await other.next())?.slice(0, 3)).toEqual([2, 0, "PROTOCOL_ERROR"]);
  peer.close();
  await served.close();
});

test("what is no text is no id: it is refused where the handle is made, and calls nobody who has a number", async () => {
  const served = await serveContext();
  const client = await connect({ address: served.tcp.address });
  const alice = client.entity("alice");
  for (let i = 1; i <= 3; i++) await alice.append(added(1));
  for (const id of [0, 7, -1, null, undefined, ["alice"], { number: 0, id: "bob" }]) {
    const code = "INVALID_ARGUMENT";
    expect(() => client.entity(id as never)).toThrow(expect.objectContaining({ code }));
  }
  expect(await alice.seq()).toBe(3);
  await client.close();
  await served.close();
});

test("numbers go on standing for entities that left memory or were erased", async () => {
  const dataDir = mkdtempSync(join(tmpdir(), "warp-numbers-"));
  const warp = await start({
    ...smallSettings,
    dataDir,
    aggregates: [counter],
    memory: { ...smallSettings.memory, residentBytes: 64 * 1024 },
  });
  const handle = warp.sharedHandle("alice");
  expect(warp.sharedHandle("alice")).toBe(handle);
  await handle.append(added(1));
  for (let i = 0; handle.isCurrent && i < 20_000; i++) await warp.entity(`other-${i}`).append(added(1));
  expect(handle.isCurrent).toBe(false);
  expect(handle.state()).toBeUndefined();
  // It works as any handle does, though it is no longer the one that is shared.
  expect(await handle.append(added(2))).toMatchObject({ ok: true, seq: 2 });
  const next = warp.sharedHandle("alice");
  expect(next).not.toBe(handle);
  expect(await next.read(counter)).toEqual({ sum: 3, times: 2 });
  await next.delete();
  expect(warp.sharedHandle("alice").seq()).rejects.toMatchObject({ code: "ERASED" });
  await warp.close();
  rmSync(dataDir, { recursive: true });
});

test("what was numbered and has left memory is not kept by its number", async () => {
  const dataDir = mkdtempSync(join(tmpdir(), "warp-numbers-"));
  const memory = { ...smallSettings.memory, residentBytes: 64 * 1024 };
  const warp = await start({ ...smallSettings, dataDir, aggregates: [counter], memory });
  const handles = Array.from({ length: 100 }, (_, i) => warp.sharedHandle(`numbered-${i}`));
  await Promise.all(handles.map((handle) => handle.append(added(1))));
  const states = handles.map((handle) => new WeakRef(handle.state() as object));
  for (let i = 0; handles.some(({ isCurrent }) => isCurrent) && i < 20_000; i++)
    await warp.entity(`other-${i}`).append(added(1));
  Bun.gc(true);
  // What a register or the stack still points to is not collected; later other things stand there.
  while (states.filter((state) => state.deref() !== undefined).length >= 10) {
    await Bun.sleep(10);
    Bun.gc(true);
  }
  expect(await handles[0]?.read(counter)).toEqual({ sum: 1, times: 1 });
  await warp.close();
  rmSync(dataDir, { recursive: true });
});

test("handles of a client work while their entities come and go, and end, and begin anew", async () => {
  const served = await serveContext();
  const client = await connect({ address: served.tcp.address });
  const alice = client.entity("alice");
  for (let i = 1; i <= 5; i++) expect(await alice.append(added(1))).toMatchObject({ seq: i });
  await alice.delete();
  expect(alice.append(added(1))).rejects.toMatchObject({ code: "ERASED" });
  expect(await alice.append(added(7), { expect: "none" })).toMatchObject({ ok: true, seq: 1 });
  expect(await alice.as(counter).state()).toEqual({ sum: 7, times: 1 });
  await client.close();
  await served.close();
});

test("a call that told a number and was given up before it was sent leaves the calls behind it right", async () => {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const limits = { requests: 1 };
  const served = await serveContext({ limits }, (port) => ({
    ...port,
    seq: (entity, answer) => {
      const id = typeof entity === "string" ? entity : entity.id;
      void (id === "slow" ? released : Promise.resolve()).then(() => port.seq(entity, answer));
    },
  }));
  const states: string[] = [];
  const client = await connect({
    address: served.tcp.address,
    onConnection: (state) => states.push(state),
  });
  const bob = client.entity("bob");
  await bob.append(added(1));
  const slow = client.entity("slow").seq();
  // The server takes one request at a time, so these wait here.
  const aborting = new AbortController();
  const told = bob.append(added(2), { signal: aborting.signal });
  const behind = [bob.append(added(3)), bob.append(added(4)), bob.seq()];
  aborting.abort();
  expect(told).rejects.toMatchObject({ code: "ABORTED" });
  release();
  expect(await slow).toBe(0);
  expect(await Promise.all(behind)).toMatchObject([{ seq: 2 }, { seq: 3 }, 3]);
  expect(await bob.as(counter).state()).toEqual({ sum: 8, times: 3 });
  expect(await bob.append(added(5))).toMatchObject({ seq: 4 });
  await client.close();
  await served.close();
  expect(states).toEqual(["connected"]);
});
