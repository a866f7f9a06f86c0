import { lazyStack } from "../drivers/rtc.lazy.ts";
import type { LinkOptions } from "../proto/streams/channel.ts";
import { MAX_RETAINED_BYTES } from "../proto/streams/limits.ts";
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
  // Twice this may be unacknowledged, and all of it is to be kept.
  return { maxBytes: MAX_RETAINED_BYTES / 2 };
}

/** The stack that `word` names. Rejects with `rtc-unavailable`. */
export async function chooseStack(word: "auto" | "native" | "werift"): Promise<RtcStack> {
  const rtc = await import("../drivers/rtc.auto.ts");
  return rtc.chooseStack(word);
}

/** The stacks of one agent. */
export interface Stacks {
  /** What connections are made with where nothing speaks against it. */
  readonly best: RtcStack;
  /** What speaks TURN over TCP and TLS, which may be the same; undefined where nothing does. */
  readonly streams: RtcStack | undefined;
  /** Loads what `streams` needs, where that is put off until it is needed. */
  warm(): void;
  /** A stack of the application's own, which gets all servers at once and chooses by itself. */
  readonly isCustom: boolean;
  /** Releases what they hold beyond their connections, which must be closed first. */
  close(): Promise<void>;
}

/** The stacks that `rtc` names. Rejects with `rtc-unavailable`. */
export async function openStacks(rtc: "auto" | "native" | "werift" | RtcStack): Promise<Stacks> {
  if (typeof rtc === "object") return customStacks(rtc);
  const best = await chooseStack(rtc);
  const late = rtc === "auto" && best.name !== "werift" ? lateWerift(best.maxFrameBytes) : undefined;
  const streams = late ?? (best.name === "werift" ? best : undefined);
  const close = async (): Promise<void> => {
    await Promise.all([best.close(), streams === best ? undefined : streams?.close()]);
  };
  return { best, streams, warm: () => late?.warm(), isCustom: false, close };
}

/** A stack of the application's own, alone. */
export function customStacks(stack: RtcStack): Stacks {
  return { best: stack, streams: undefined, warm: () => undefined, isCustom: true, close: () => stack.close() };
}

/** werift beside the native stack: most agents never need it. */
function lateWerift(maxFrameBytes: number): ReturnType<typeof lazyStack> {
  return lazyStack("werift", maxFrameBytes, () => chooseStack("werift"));
}
