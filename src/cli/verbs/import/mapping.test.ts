import { describe, expect, test } from "bun:test";
import { WarpError } from "../../../core/errors.ts";
import { compileMapping, type MappingOptions } from "./mapping.ts";

const options: MappingOptions = {
  entity: "id",
  type: { name: "Seen" },
  occurred: undefined,
  occurredUnit: undefined,
  fields: undefined,
  personal: undefined,
};

function map(value: unknown, given: Partial<MappingOptions> = {}, bytes = 100) {
  return compileMapping({ ...options, ...given })({ line: 1, bytes, value });
}

const entityOf = (value: unknown, entity: string) => {
  const mapped = map(value, { entity });
  return mapped.problem ?? mapped.entity;
};

describe("the entity", () => {
  test("is a field that holds text or an integer", () => {
    expect(map({ id: "a", n: 1 })).toEqual({
      entity: "a",
      event: { type: "Seen", data: { id: "a", n: 1 } },
    });
    expect(entityOf({ id: 42 }, "id")).toBe("42");
  });

  test("is a field inside a field, unless the row has a field of the whole name", () => {
    expect(entityOf({ user: { id: "inner" } }, "user.id")).toBe("inner");
    expect(entityOf({ user: { id: "inner" }, "user.id": "outer" }, "user.id")).toBe("outer");
    expect(entityOf({ user: "x" }, "user.id")).toBe('has no field "user.id" for its entity');
  });

  test("is a template of fields, with doubled braces for braces", () => {
    expect(entityOf({ id: 7, kind: "a" }, "order-{id}.{kind}")).toBe("order-7.a");
    expect(entityOf({ id: 7, tenant: "t" }, "{{{tenant}}}-{id}")).toBe("{t}-7");
    expect(entityOf({ kind: "a" }, "order-{id}")).toBe('has no field "id" for its entity');
    for (const template of ["order-{id", "order-}", "{}", "{a{b}}"]) {
      expect(() => entityOf({}, template)).toThrow(WarpError);
    }
  });

  test("cannot be missing, empty, of another kind, or an id that the engine refuses", () => {
    expect(entityOf({}, "id")).toBe('has no field "id" for its entity');
    for (const id of ["", null, 1.5, 2 ** 60, true, ["a"]]) {
      expect(entityOf({ id }, "id")).toEndWith('as "id", which cannot be its entity');
    }
    expect(entityOf({ id: "a\0b" }, "id")).toStartWith("cannot name its entity: ");
    expect(entityOf({ id: "x".repeat(513) }, "id")).toStartWith("cannot name its entity: ");
    expect(entityOf({}, "constructor")).toBe('has no field "constructor" for its entity');
  });
});

describe("the type", () => {
  test("is one for all rows, or a field", () => {
    const mapped = map({ id: "a", kind: "Opened" }, { type: { field: "kind" } });
    expect(mapped).toMatchObject({ event: { type: "Opened" } });
    expect(map({ id: "a" }, { type: { field: "kind" } }).problem).toBe('has no field "kind" for its type');
    expect(map({ id: "a", kind: "é".repeat(128) }, { type: { field: "kind" } }).problem).toEndWith(
      "which is longer than 255 bytes",
    );
    for (const kind of ["$dropped", "__proto__"])
      expect(map({ id: "a", kind }, { type: { field: "kind" } }).problem).toEndWith("which is reserved");
  });
});

describe("the time", () => {
  test("is read from its field, and a row without a time is a problem", () => {
    const mapped = map({ id: "a", date: "2001/01/13 14:56" }, { occurred: "date" });
    expect(mapped).toMatchObject({ event: { occurredAt: Date.UTC(2001, 0, 13, 14, 56) } });
    expect(map({ id: "a", date: "soon" }, { occurred: "date" }).problem).toBe(
      'has "soon" as "date", which is not a time',
    );
    expect(map({ id: "a" }, { occurred: "date" }).problem).toBe('has nothing as "date", which is not a time');
    expect(map({ id: "a", date: 5 }, { occurred: "date", occurredUnit: "ms" })).toMatchObject({
      event: { occurredAt: 5 },
    });
  });
});

describe("the data", () => {
  test("is the whole row, or the fields to keep", () => {
    const row = { id: "a", b: 1, c: { d: null } };
    expect(map(row)).toMatchObject({ event: { data: row } });
    const mapped = map(row, { fields: ["c.d", "b", "nowhere"] });
    expect(mapped).toMatchObject({ event: { data: { "c.d": null, b: 1 } } });
  });

  test("that cannot be stored is a problem of the row", () => {
    let deep: unknown = 1;
    for (let depth = 0; depth < 40; depth++) deep = [deep];
    expect(map({ id: "a", deep }).problem).toStartWith("cannot be stored: ");
    expect(map(JSON.parse('{"id":"a","__proto__":1}')).problem).toStartWith("cannot be stored: ");
    const large = { id: "a", text: "\u0001".repeat(300_000) };
    expect(map(large, {}, 300_100).problem).toStartWith("cannot be stored: ");
  });

  test("must be an object, and the problem of a row stays its problem", () => {
    for (const value of [null, 1, "a", [1]]) expect(map(value).problem).toBe("is not an object with fields");
    const row = { line: 1, bytes: 1, value: undefined, problem: "is not JSON" };
    expect(compileMapping(options)(row)).toEqual({ problem: "is not JSON" });
  });
});

describe("what a row says of somebody else", () => {
  const personal = { subject: "buyer-{buyer}", fields: ["street", "contact.phone"] };

  test("that is in a list leaves the list as it is otherwise", () => {
    const row = {
      id: "a",
      who: "b",
      tags: ["x", "Elm", "z"],
      contacts: [{ name: "Ann", role: "y" }, { name: "Bob" }],
    };
    const inLists = {
      subject: "who",
      fields: ["contacts.0.name", "tags.1", "tags.length", "contacts.7.name"],
    };
    expect(map(row, { personal: inLists })).toMatchObject({
      event: {
        data: { id: "a", tags: ["x", null, "z"], contacts: [{ role: "y" }, { name: "Bob" }] },
        personal: { subject: "b", data: { "contacts.0.name": "Ann", "tags.1": "Elm" } },
      },
    });
  });

  test("becomes the personal part of its event, and is not in the data", () => {
    const row = { id: "a", buyer: 7, cents: 5, street: "Elm", contact: { phone: "1", floor: 2 } };
    expect(map(row, { personal })).toEqual({
      entity: "a",
      event: {
        type: "Seen",
        data: { id: "a", cents: 5, contact: { floor: 2 } },
        personal: { subject: "buyer-7", data: { street: "Elm", "contact.phone": "1" } },
      },
    });
    // The row itself is left as it was.
    expect(row.contact).toEqual({ phone: "1", floor: 2 });
    expect(
      map({ id: "a", who: "b", street: "Elm" }, { personal: { ...personal, subject: "who" } }),
    ).toMatchObject({
      event: { data: { id: "a" }, personal: { subject: "b", data: { street: "Elm" } } },
    });
  });

  test("stands beside the fields that are named for the data", () => {
    const row = { id: "a", buyer: 7, cents: 5, street: "Elm" };
    expect(map(row, { personal, fields: ["cents", "buyer"] })).toMatchObject({
      event: { data: { cents: 5, buyer: 7 }, personal: { subject: "buyer-7", data: { street: "Elm" } } },
    });
  });

  test("is nothing when its fields are missing, null or empty, whoever the subject would be", () => {
    for (const street of [undefined, null, ""]) {
      const mapped = map({ id: "a", ...(street === undefined ? {} : { street }) }, { personal });
      expect(mapped).toMatchObject({ event: { data: { id: "a" } } });
      expect(mapped).not.toHaveProperty("event.personal");
    }
  });

  test("needs a subject, with an id that the engine takes", () => {
    const problem = (row: object) => map({ id: "a", street: "Elm", ...row }, { personal }).problem;
    expect(problem({})).toBe('has no field "buyer" for its subject');
    expect(problem({ buyer: null })).toBe('has null as "buyer", which cannot be its subject');
    expect(problem({ buyer: "x\0" })).toStartWith("cannot name its subject: ");
  });
});
