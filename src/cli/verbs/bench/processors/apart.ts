/**
 * Client and server of a run wake each other thousands of times a second. A scheduler that puts who is woken beside who wakes
 * has the two wait for one processor while the other idles (docs/decisions/0012); kept apart, they do not.
 */
import { allowedProcessors, runOn } from "../../../../core/processors.ts";
import { UsageError } from "../../../exit.ts";

/**
 * Keeps the main thread of the server `pid` and this thread on processors of their own; all other threads run where they
 * ran. What it returns lets this thread go again. Errors: UsageError where that cannot be done.
 */
export function keepApart(pid: number): () => void {
  const allowed = allowedProcessors();
  const [first] = allowed;
  const last = allowed.at(-1);
  if (first === undefined || last === undefined || first === last || !runOn(pid, [first])) {
    throw new UsageError("--apart needs Linux and two processors");
  }
  runOn(0, [last]);
  return () => runOn(0, allowed);
}
