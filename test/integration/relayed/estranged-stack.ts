import { chooseStack } from "../../../src/agent/stacks.ts";
import type { RtcConnection, RtcEvent } from "../../../src/proto/negotiation/rtc.ts";
import type { RtcStack } from "../../../src/rtc.ts";

/** A line that tells whose description it is. Stacks pass over attributes that they do not know. */
const lineOf = (name: string): string => `a=x-drawn-by:${name}\r\n`;

/**
 * A WebRTC stack by which `name` never gets a connection with those in `estranged`, as between two NATs that cannot meet:
 * descriptions of theirs go nowhere. All others are as usual.
 */
export async function estrangedStack(name: string, estranged: readonly string[]): Promise<RtcStack> {
  const stack = await chooseStack("werift");
  const isTheirs = (sdp: string): boolean => estranged.some((other) => sdp.includes(lineOf(other)));
  return {
    name: "werift",
    maxFrameBytes: stack.maxFrameBytes,
    connect(options, notify) {
      const inner = stack.connect(options, (event) => notify(signed(event)));
      return wrapped(inner, isTheirs);
    },
    close: () => stack.close(),
  };

  function signed(event: RtcEvent): RtcEvent {
    return event.type === "description" ? { ...event, sdp: `${event.sdp.trimEnd()}\r\n${lineOf(name)}` } : event;
  }
}

function wrapped(inner: RtcConnection, isTheirs: (sdp: string) => boolean): RtcConnection {
  return {
    offer: () => inner.offer(),
    // Without an answer the dial ends at its own limit; to close it at once keeps tests short.
    answer: (sdp) => (isTheirs(sdp) ? inner.close() : inner.answer(sdp)),
    accept: (sdp) => (isTheirs(sdp) ? inner.close() : inner.accept(sdp)),
    candidate: (candidate, mid) => inner.candidate(candidate, mid),
    send: (frame) => inner.send(frame),
    get bufferedAmount() {
      return inner.bufferedAmount;
    },
    get lowWaterMark() {
      return inner.lowWaterMark;
    },
    set lowWaterMark(mark) {
      inner.lowWaterMark = mark;
    },
    remoteFingerprint: () => inner.remoteFingerprint(),
    selectedPair: () => inner.selectedPair(),
    close: () => inner.close(),
  };
}
