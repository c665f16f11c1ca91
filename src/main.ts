/**
 * The executable: runs one command and ends with its exit status.
 */
import { runCommand } from "./cli/program.ts";
import { provideWarpModule } from "./cli/warp-module.ts";

provideWarpModule();
process.exitCode = await runCommand(process.argv.slice(2));
