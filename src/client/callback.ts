/**
 * Functions of the program that the client calls to tell it something.
 *
 * What such a function throws is a mistake of the program and must not cost a connection or a subscription: it becomes a
 * warning of the process, and the client goes on.
 */

/** The function as the client may call it: it does not throw, and does nothing when the program gave none. */
export function guarded<Args extends unknown[]>(
  name: string,
  callback: ((...args: Args) => void) | undefined,
): (...args: Args) => void {
  if (callback === undefined) return () => {};
  const warn = (thrown: unknown): void => {
    const detail = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
    process.emitWarning(`${name} of a Warp client has failed`, { type: "WarpWarning", detail });
  };
  return (...args) => {
    try {
      const returned: unknown = callback(...args);
      if (returned instanceof Promise) returned.catch(warn);
    } catch (thrown) {
      warn(thrown);
    }
  };
}
