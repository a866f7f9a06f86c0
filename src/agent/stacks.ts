import type { LinkOptions } from "../proto/streams/link.ts";
import type { RtcStack } from "../rtc.ts";

/** How much a link may hand to each stack, where it differs from the default; measured, see `test/bench`. */
export function linkOptionsFor(stack: string): LinkOptions {
  // werift's cost grows with the messages it holds, and its bufferedAmount falls only when everything is sent.
  return stack === "werift" ? { maxFrames: 64, maxBufferedBytes: 1_048_576 } : {};
}

/** The stack that `word` names. Rejects with `rtc-unavailable`. */
export async function chooseStack(word: "auto" | "native" | "werift"): Promise<RtcStack> {
  const rtc = await import("../drivers/rtc.auto.ts");
  return rtc.chooseStack(word);
}
