import { type DtlsSocket, type RTCDataChannel, RTCPeerConnection, type RTCSctpTransport } from "werift";
import { assignStream, type Keys, makeKeys } from "../../src/drivers/rtc-werift-config.ts";
import type { RtcStack } from "../../src/rtc.ts";
import { End, LOOPBACK } from "./rtc-pair.ts";

/**
 * A peer that does what no stack of ours does: werift with all its parts in reach. It signals like an honest peer, so what it
 * is up to shows only once packets flow.
 */
export class Attacker {
  readonly peer: RTCPeerConnection;
  /** The end under attack. */
  readonly victim: End;
  /** Lets ICE connect and never answers in DTLS. */
  isSilent = false;
  /** Called with the DTLS socket before its first packet. */
  onDtls: ((socket: DtlsSocket) => void) | undefined;

  constructor(stack: RtcStack, role: "initiator" | "answerer", keys: Keys) {
    this.peer = new RTCPeerConnection({
      iceServers: [{ urls: "stun:127.0.0.1:9" }],
      iceAdditionalHostAddresses: ["127.0.0.1"],
      iceUseIpv6: false,
      dtls: { keys },
    });
    this.victim = new End(stack, { ...LOOPBACK, initiator: role === "answerer" });
    this.peer.onIceCandidate.subscribe((candidate) => {
      if (candidate !== undefined) this.victim.connection.candidate(candidate.candidate, "0");
    });
    this.victim.onEvent = (event) => {
      if (event.type === "description" && event.kind === "answer") {
        this.#quietly(this.peer.setRemoteDescription({ type: "answer", sdp: event.sdp }));
      } else if (event.type === "description") this.#quietly(this.#answer(event.sdp));
      else if (event.type === "candidate") {
        this.#quietly(this.peer.addIceCandidate({ candidate: event.candidate, sdpMLineIndex: 0 }));
      }
    };
  }

  /** As initiator: opens a channel and offers. */
  async offer(): Promise<void> {
    const channel = this.peer.createDataChannel("starling");
    const offer = await this.peer.createOffer();
    this.#prepare(channel);
    this.victim.connection.answer(offer.sdp);
    this.#quietly(this.peer.setLocalDescription(offer));
  }

  get sctp(): RTCSctpTransport {
    const { sctpTransport } = this.peer;
    if (sctpTransport === undefined) throw new Error("no SCTP transport yet");
    return sctpTransport;
  }

  async close(): Promise<void> {
    this.victim.connection.close();
    await this.victim.closed();
    await this.peer.close();
  }

  async #answer(offer: string): Promise<void> {
    await this.peer.setRemoteDescription({ type: "offer", sdp: offer });
    this.#prepare();
    const answer = await this.peer.createAnswer();
    this.victim.connection.accept(answer.sdp);
    await this.peer.setLocalDescription(answer);
  }

  #prepare(channel?: RTCDataChannel): void {
    for (const transport of this.peer.iceTransports) delete transport.connection.stunServer;
    for (const transport of this.peer.dtlsTransports) {
      if (this.isSilent) transport.start = () => new Promise(() => {});
      transport.onStateChange.subscribe((state) => {
        if (state !== "connecting") return;
        if (channel !== undefined) assignStream(channel, transport.role);
        queueMicrotask(() => transport.dtls && this.onDtls?.(transport.dtls));
      });
    }
  }

  /** The attacker's own failures are not what is tested. */
  #quietly(promise: Promise<unknown>): void {
    promise.catch(() => {});
  }
}

/** An attacker that has not begun. */
export async function attackerOn(stack: RtcStack, role: "initiator" | "answerer", keys?: Keys): Promise<Attacker> {
  return new Attacker(stack, role, keys ?? (await makeKeys()));
}

/** Starts the connection from whichever side offers. */
export async function begin(attacker: Attacker, role: "initiator" | "answerer"): Promise<void> {
  if (role === "initiator") await attacker.offer();
  else attacker.victim.connection.offer();
}
