/**
 * The executable: runs one command and ends with its exit status. Started by itself as a query process it is that.
 */
import { beginWithMemorySettings } from "./cli/own-process.ts";
import { runCommand } from "./cli/program.ts";
import { announceExecutable, queryProcessWord } from "./projecting.ts";
import { runQueryProcess } from "./query-process.ts";
import { provideWarpModule } from "./warp-module.ts";

if (process.argv[2] === queryProcessWord && process.send !== undefined) {
  runQueryProcess();
} else {
  beginWithMemorySettings(process.argv.slice(2), process.env);
  announceExecutable();
  provideWarpModule();
  process.exitCode = await runCommand(process.argv.slice(2));
}
