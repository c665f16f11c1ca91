/**
 * JSON merge patch (RFC 7396): objects merge by name, null removes a name, anything else replaces.
 *
 * - Neither argument is changed; parts of both may be shared with the result, so all three are values.
 * - Only plain objects merge; an array, a Date or bytes replace as a whole.
 * - A key `__proto__` is a key like any other: it never reaches a prototype.
 */

/** `target` with `patch` applied. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const merged = isObject(target) ? { ...target } : {};
  for (const name of Object.keys(patch)) {
    const value = patch[name];
    if (value === null) delete merged[name];
    else set(merged, name, isObject(value) ? mergePatch(own(merged, name), value) : value);
  }
  return merged;
}

function own(object: Record<string, unknown>, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

function set(object: Record<string, unknown>, name: string, value: unknown): void {
  if (name === "__proto__") {
    Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
  } else {
    object[name] = value;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
