import { setTimeout as pause } from "node:timers/promises";
import * as polyfill from "node-datachannel/polyfill";
import SimplePeer from "simple-peer";
import { describe, expect, test } from "vitest";
import { nativeStack } from "../../src/drivers/rtc.native.ts";
import { type AdoptedConnection, adoptSimplePeer, simplePeerStack } from "../../src/drivers/rtc.simple-peer.ts";
import { withPlainDescriptions } from "../../src/drivers/rtc-simple-peer-parts.ts";
import type { RtcEvent } from "../../src/proto/negotiation/rtc.ts";
import { rtcContract } from "./rtc-contract.ts";

/** simple-peer over the W3C interface of node-datachannel, in place of a browser. */

/** After which an application dials anew, ms. */
const DIAL_MS = 5_000;

const makeStack = () => simplePeerStack({ Peer: SimplePeer, wrtc: polyfill });

rtcContract("simple-peer", async () => {
  const stack = makeStack();
  return { initiator: stack, answerer: stack };
});

rtcContract("simple-peer to native", async () => ({ initiator: makeStack(), answerer: await nativeStack() }));

describe("a simple-peer connection of the application's", () => {
  /**
   * Two that the application has connected. A dial over this stack comes to nothing now and then, without a word for half a minute, which
   * the watchdog of `proto/negotiation` is for; an application of simple-peer dials anew by itself, and so does this one.
   */
  async function connected(): Promise<[SimplePeer.Instance, SimplePeer.Instance]> {
    const options = { wrtc: withPlainDescriptions(polyfill) as never, config: { iceServers: [] } };
    for (;;) {
      const [left, right] = [new SimplePeer({ ...options, initiator: true }), new SimplePeer(options)];
      left.on("signal", (data) => right.signal(data));
      right.on("signal", (data) => left.signal(data));
      const both = Promise.all(
        [left, right].map((peer) => new Promise((resolve) => peer.once("connect", resolve as () => void))),
      );
      if (await Promise.race([both, pause(DIAL_MS, false)])) return [left, right];
      left.destroy();
      right.destroy();
    }
  }

  const hear = (peer: SimplePeer.Instance) => {
    const events: RtcEvent[] = [];
    let wake = (): void => undefined;
    const connection: AdoptedConnection = adoptSimplePeer(peer, (event) => {
      events.push(event);
      wake();
    });
    const until = async (type: RtcEvent["type"]): Promise<RtcEvent> => {
      for (;;) {
        const found = events.find((event) => event.type === type);
        if (found) return found;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    };
    return { connection, events, until };
  };

  test("becomes one of ours, between the certificates that both descriptions name", async () => {
    const [a, b] = await connected();
    const left = hear(a);
    // What the other side says before this one has taken over is not lost.
    await left.until("open");
    expect(left.connection.send(Uint8Array.of(1, 2, 3))).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const right = hear(b);
    expect(await right.until("frame")).toEqual({ type: "frame", bytes: Uint8Array.of(1, 2, 3) });
    expect(right.events.map(({ type }) => type)).toEqual(["ice-connected", "open", "frame"]);
    expect([left.connection.role, right.connection.role]).toEqual(["dialer", "answerer"]);
    expect(left.connection.localFingerprint).toEqual(right.connection.remoteFingerprint());
    expect(right.connection.localFingerprint).toEqual(left.connection.remoteFingerprint());
    expect(left.connection.localFingerprint).toHaveLength(32);
    expect(left.connection.localFingerprint).not.toEqual(left.connection.remoteFingerprint());
    left.connection.close();
    await Promise.all([left.until("closed"), right.until("closed")]);
    expect(right.connection.send(Uint8Array.of(1))).toBe(false);
    expect(right.connection.remoteFingerprint()).toBeUndefined();
  });

  test("is refused, and left alone, when it is not connected or its certificates cannot be told", async () => {
    const fresh = new SimplePeer({
      initiator: true,
      wrtc: withPlainDescriptions(polyfill) as never,
      config: { iceServers: [] },
    });
    expect(() => adoptSimplePeer(fresh, () => undefined)).toThrow("connected");
    fresh.destroy();
    const [a, b] = await connected();
    const { _pc: real } = a as object as {
      _pc: { localDescription: { sdp: string }; remoteDescription: { sdp: string } };
    };
    const withDescriptions = (change: object): SimplePeer.Instance =>
      new Proxy(a, {
        get: (target, name) => {
          const shown = {
            addIceCandidate() {},
            localDescription: real.localDescription,
            remoteDescription: real.remoteDescription,
          };
          return name === "_pc" ? { ...shown, ...change } : Reflect.get(target, name, target);
        },
      });
    const { sdp } = real.remoteDescription;
    const line = /a=fingerprint:.*\r\n/.exec(sdp)?.[0] ?? "";
    const another = line.replace(/..\r\n/, line.endsWith("00\r\n") ? "01\r\n" : "00\r\n");
    for (const change of [
      { remoteDescription: null },
      { localDescription: null },
      { remoteDescription: { sdp: sdp.replace(line, "") } },
      { remoteDescription: { sdp: sdp.replace(line, line + another) } },
      { remoteDescription: { sdp: sdp.replace("sha-256", "sha-1") } },
      { remoteDescription: { sdp: `${sdp}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n` } },
    ]) {
      expect(() => adoptSimplePeer(withDescriptions(change), () => undefined)).toThrow(/cannot be told/);
    }
    expect(a.destroyed || b.destroyed).toBe(false);
    a.send("still the application's");
    await new Promise((resolve) => b.once("data", resolve));
    a.destroy();
    b.destroy();
  });

  test("uses no public server, whatever simple-peer would do by itself", () => {
    const configs: unknown[] = [];
    class Spy {
      constructor(options: { config: unknown }) {
        configs.push(options.config);
        throw new Error("seen");
      }
    }
    const stack = simplePeerStack({
      Peer: Spy as never,
      config: { iceServers: [{ urls: "stun:public.example" }], x: 1 },
    });
    stack.connect({ initiator: true, iceServers: [] }, () => undefined).offer();
    expect(configs).toEqual([{ iceServers: [], iceTransportPolicy: "all", x: 1 }]);
  });
});
