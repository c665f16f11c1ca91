/**
 * The first bytes of a vault, which say whose it is (vault.ts has the layout).
 */
import { WarpError } from "../../core/errors.ts";

export const vaultHeaderBytes = 4096;
const magic = "WARPVALT";
const vaultFormat = 1;

export function vaultHeader(context: string, shard: number): Buffer {
  const header = Buffer.alloc(vaultHeaderBytes);
  header.write(magic, 0, "latin1");
  header.writeUInt32LE(vaultFormat, 8);
  header.writeUInt16LE(shard, 12);
  header.writeUInt16LE(header.write(context, 16, "utf8"), 14);
  header.writeUInt32LE(Bun.hash.crc32(header.subarray(0, vaultHeaderBytes - 4)), vaultHeaderBytes - 4);
  return header;
}

/** What is wrong with the header of a vault, as the error to throw. */
export function vaultHeaderFault(
  header: Buffer,
  of: { readonly path: string; readonly context: string; readonly shard: number },
): WarpError | undefined {
  const file = of.path;
  const isWhole =
    header.length === vaultHeaderBytes &&
    header.toString("latin1", 0, 8) === magic &&
    header.readUInt32LE(vaultHeaderBytes - 4) === Bun.hash.crc32(header.subarray(0, vaultHeaderBytes - 4));
  if (!isWhole) return new WarpError("CORRUPT", `${file}: the header is damaged`, { file, offset: 0 });
  const format = header.readUInt32LE(8);
  if (format !== vaultFormat) {
    return new WarpError("FORMAT_UNSUPPORTED", `${file} has format ${format}, known is ${vaultFormat}`, {
      file,
    });
  }
  if (vaultHeader(of.context, of.shard).equals(header)) return undefined;
  return new WarpError("CONFIG_MISMATCH", `${file} belongs to another shard or context`, { file });
}
