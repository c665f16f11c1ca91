/** A frame that is not what docs/protocol.md says. */
import { WarpError } from "../../core/errors.ts";

export function protocolError(message: string): WarpError {
  return new WarpError("PROTOCOL_ERROR", message);
}
