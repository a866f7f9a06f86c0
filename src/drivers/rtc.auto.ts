import { StarlingError } from "../errors.ts";
import type { RtcStack } from "../rtc.ts";

/**
 * Which stack to use. Neither is loaded before it is asked for: werift is large, and node-datachannel may be missing.
 */

/**
 * The stack that `word` names.
 *
 * @throws StarlingError `rtc-unavailable` when it cannot be loaded.
 */
export async function chooseStack(word: "auto" | "native" | "werift"): Promise<RtcStack> {
  if (word === "auto") return autoStack();
  if (word === "native") return (await import("./rtc.native.ts")).nativeStack();
  try {
    return (await import("./rtc.werift.ts")).weriftStack();
  } catch (cause) {
    throw new StarlingError("rtc-unavailable", "werift cannot be loaded; reinstall the package", { cause });
  }
}

/**
 * The best stack that loads: node-datachannel where its binary is installed, else werift. Its `name` tells which.
 *
 * @throws StarlingError `rtc-unavailable` when neither loads.
 */
export async function autoStack(): Promise<RtcStack> {
  try {
    return await chooseStack("native");
  } catch {
    // Expected wherever the optional dependency has no binary.
    return chooseStack("werift");
  }
}
