/**
 * What is asked of a query process, and what it answers.
 */

import type { WireError } from "../messages.ts";
import type { QueryPlace } from "../projections.ts";

/** What SQLite can hold, with integers beyond 2^53 as bigints. */
export type QueryValue = string | number | bigint | boolean | null | Uint8Array;
export type QueryParam = string | number | bigint | boolean | null;

export interface QueryResult {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly QueryValue[])[];
  /** There were more rows than asked for, or than fit. */
  readonly isTruncated: boolean;
}

export interface QueryRequest {
  readonly id: number;
  readonly place: Extract<QueryPlace, { kind: "sqlite" }>;
  readonly sql: string;
  readonly params: readonly QueryParam[];
  readonly rowsMax: number;
  readonly bytesMax: number;
}

export type QueryAnswer =
  | { readonly id: number; readonly result: QueryResult }
  | { readonly id: number; readonly error: WireError };
