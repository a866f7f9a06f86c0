import type { Instant } from "../proto/machine.ts";
import type { CandidatePair, RtcConnection, RtcEvent } from "../proto/negotiation/rtc.ts";
import type { AdmittedPeer } from "../proto/session/admission.ts";
import type { Role } from "../proto/session/transcript.ts";
import type { LinkStatus } from "../status.ts";
import type { AdmittedChannel } from "./pairing.ts";

/** One admitted channel below a link: carries its frames for as long as it is the link's. */
export class LinkChannel {
  readonly peer: AdmittedPeer;
  readonly role: Role;
  readonly stack: string;
  readonly since: Instant;
  /** It took the place of one that still worked, of which the mesh knows nothing. */
  readonly isSuccessor: boolean;
  readonly #connection: RtcConnection;
  readonly #take: AdmittedChannel["take"];
  #state: "fresh" | "heard" | "retired" = "fresh";

  constructor(channel: AdmittedChannel, stack: string, now: Instant, isSuccessor: boolean) {
    this.peer = channel.peer;
    this.role = channel.role;
    this.stack = stack;
    this.since = now;
    this.isSuccessor = isSuccessor;
    this.#connection = channel.connection;
    this.#take = channel.take;
  }

  /** Begins to listen, once. Nothing is heard after {@link retire}. */
  start(notify: (event: RtcEvent) => void): void {
    if (this.#state !== "fresh") return;
    this.#state = "heard";
    this.#take((event) => {
      if (this.#state === "heard") notify(event);
    });
  }

  send(frame: Uint8Array): void {
    this.#connection.send(frame);
  }

  get bufferedAmount(): number {
    return this.#connection.bufferedAmount;
  }

  /** The addresses in use, where the stack tells. */
  get pair(): CandidatePair | undefined {
    return this.#connection.selectedPair();
  }

  status(): Pick<LinkStatus, "path" | "rtc" | "localCandidate" | "remoteCandidate"> {
    const { pair } = this;
    return {
      path: pathOf(this.stack, pair),
      rtc: this.stack,
      localCandidate: pair ? `${pair.local.kind} ${pair.local.address}` : null,
      remoteCandidate: pair ? `${pair.remote.kind} ${pair.remote.address}` : null,
    };
  }

  /** Is no longer the link's; closes after `lingerMs`, so that what is on its way arrives. */
  retire(lingerMs: number): void {
    this.#state = "retired";
    if (lingerMs === 0) this.#connection.close();
    else setTimeout(() => this.#connection.close(), lingerMs).unref();
  }
}

/** What a link that leads through other members calls its stack. */
export const ROUTED = "routed";

function pathOf(stack: string, pair: CandidatePair | undefined): LinkStatus["path"] {
  if (stack === ROUTED) return "routed";
  return pair?.local.kind === "relay" || pair?.remote.kind === "relay" ? "turn" : "direct";
}
