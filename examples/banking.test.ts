import { describe, test } from "bun:test";
import { specification } from "warp";
import { account } from "./banking.ts";

const { given } = specification(account);
const opened = { type: "Opened", data: { owner: "Alice", overdraftCents: 1000 } };
const credited = (cents: number) => ({ type: "Credited", data: { cents, ref: "salary" } });
const debited = (cents: number) => ({ type: "Debited", data: { cents, ref: "rent" } });
const closed = { type: "Closed", data: { reason: "moved" } };

describe("an account", () => {
  test("is opened once, with no overdraft unless one is agreed", () => {
    const plain = { type: "Opened", data: { owner: "Alice", overdraftCents: 0 } };
    given([]).when("open", { owner: "Alice" }).thenEvents(plain);
    given([]).when("open", { owner: "Alice", overdraftCents: 1000 }).thenEvents(opened);
    given([]).when("open", { owner: "Alice", overdraftCents: -1 }).thenRejects("INVALID_OVERDRAFT");
    given(opened).when("open", { owner: "Bob" }).thenRejects("ALREADY_OPENED", { status: "open" });
  });

  test("takes in and gives out money", () => {
    given(opened).when("credit", { cents: 50, ref: "salary" }).thenEvents(credited(50));
    given([opened, credited(50), debited(20)]).thenState({
      status: "open",
      owner: "Alice",
      cents: 30,
      overdraftCents: 1000,
    });
  });

  test("falls to its overdraft and no further", () => {
    given([opened, credited(50)])
      .when("debit", { cents: 1050, ref: "rent" })
      .thenEvents(debited(1050));
    given([opened, credited(50)])
      .when("debit", { cents: 1051, ref: "rent" })
      .thenRejects("INSUFFICIENT_FUNDS", { have: 1050 });
    given([opened, debited(1000)])
      .when("debit", { cents: 1, ref: "rent" })
      .thenRejects("INSUFFICIENT_FUNDS");
  });

  test.each([0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])("does not move %p cents", (cents) => {
    given(opened)
      .when("credit", { cents, ref: "x" })
      .thenRejects("INVALID_AMOUNT", { cents: String(cents) });
    given(opened).when("debit", { cents, ref: "x" }).thenRejects("INVALID_AMOUNT");
  });

  test("moves no money before it is opened or after it is closed", () => {
    given([]).when("credit", { cents: 1, ref: "x" }).thenRejects("NOT_OPEN", { status: "new" });
    given([opened, closed])
      .when("debit", { cents: 1, ref: "x" })
      .thenRejects("NOT_OPEN", { status: "closed" });
  });

  test("is closed when it is empty, and closing it again does nothing", () => {
    given([opened, credited(50)])
      .when("close", { reason: "moved" })
      .thenRejects("NOT_EMPTY", { cents: 50 });
    given([opened, credited(50), debited(50)])
      .when("close", { reason: "moved" })
      .thenEvents(closed);
    given([opened, closed]).when("close", { reason: "again" }).thenNothing();
    given([]).when("close", { reason: "x" }).thenRejects("NOT_OPEN");
  });
});
