/**
 * The module "warp" as an application sees it that this executable loads: the executable's own library.
 *
 * Without it an application in another folder would find no "warp", or another copy of it.
 */
import * as library from "./index.ts";

/** Makes `import … from "warp"` work in every module loaded from now on. */
export function provideWarpModule(): void {
  Bun.plugin({
    name: "warp",
    setup(build) {
      build.module("warp", () => ({ exports: { ...library }, loader: "object" }));
    },
  });
}
