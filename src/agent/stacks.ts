import type { LinkOptions } from "../proto/streams/link.ts";
import type { RtcStack } from "../rtc.ts";

const STACK_WINDOW_BYTES = 1_048_576;

/** How much a link may hand to each stack, where it differs from the default; measured, see `test/bench`. */
export function linkOptionsFor(stack: string): LinkOptions {
  // Both stacks send no more than 1 MiB ahead of the peer: what is beyond only waits.
  if (stack === "native") return { maxBytes: STACK_WINDOW_BYTES };
  // werift's cost grows with the messages it holds, and its bufferedAmount falls only when everything is sent.
  if (stack === "werift") return { maxFrames: 64, maxBytes: STACK_WINDOW_BYTES, maxBufferedBytes: STACK_WINDOW_BYTES };
  return {};
}

/** The stack that `word` names. Rejects with `rtc-unavailable`. */
export async function chooseStack(word: "auto" | "native" | "werift"): Promise<RtcStack> {
  const rtc = await import("../drivers/rtc.auto.ts");
  return rtc.chooseStack(word);
}
