import type { LinkOptions } from "../proto/streams/link.ts";
import type { RtcStack } from "../rtc.ts";

/**
 * What a link may have under way. Both stacks send no more than 1 MiB ahead of the peer; in native's the memory for each packet
 * counts as well, which leaves 840 KB. Beyond that nothing moves faster, and a probe only waits.
 */
const NATIVE_BYTES = 786_432;
const WERIFT_BYTES = 917_504;

/** What werift may hold unsent: its figure falls only when everything is. */
const WERIFT_BUFFER_BYTES = 1_048_576;

/** How much a link may hand to each stack, where it differs from the default; measured, see `test/bench`. */
export function linkOptionsFor(stack: string): LinkOptions {
  if (stack === "native") return { maxBytes: NATIVE_BYTES };
  // werift's cost grows with the messages it holds.
  if (stack === "werift") return { maxFrames: 64, maxBytes: WERIFT_BYTES, maxBufferedBytes: WERIFT_BUFFER_BYTES };
  return {};
}

/** The stack that `word` names. Rejects with `rtc-unavailable`. */
export async function chooseStack(word: "auto" | "native" | "werift"): Promise<RtcStack> {
  const rtc = await import("../drivers/rtc.auto.ts");
  return rtc.chooseStack(word);
}
