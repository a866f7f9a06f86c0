import { type Instant, type Machine, NOTHING } from "../../src/proto/machine.ts";
import type { NatFiltering, NatMapping } from "../../src/proto/negotiation/nat-verdict.ts";
import type { Random } from "../../src/proto/random.ts";
import type { Endpoint } from "./address.ts";
import { Attribute } from "./attributes.ts";
import { Method } from "./message.ts";
import { endpointIn, mappedIn, type Settled, Transactions } from "./transactions.ts";

/**
 * What the NAT in front of us does, found out as in RFC 5780, in the words of RFC 4787.
 *
 * Every server is asked once from the same socket. One that has a second address is then asked the further questions: whether the
 * mapping stays the same towards its other address (section 4.3), and, from a second socket that has sent nothing there, whether an answer
 * from its other address and port comes in (section 4.4). Without such a server the mappings that two servers on different addresses see are
 * compared, which tells whether the mapping depends on where a packet goes, and nothing about filtering.
 *
 * It trusts what servers say: they are the operator's own. One answer that comes late or not at all makes a result `unknown`, or makes
 * filtering look stricter than it is; nothing of a dial depends on it.
 */

/** What one server saw. */
export interface Sighting {
  readonly server: Endpoint;
  /** Undefined: it has not answered. */
  readonly mapped: Endpoint | undefined;
  readonly rttMs: number;
}

export interface Behaviour {
  readonly sightings: readonly Sighting[];
  readonly mapping: NatMapping;
  readonly filtering: NatFiltering;
}

/** Which of the two sockets: the one that asks everything, and one that sends nothing to a second address. */
export type Probe = 0 | 1;

export type DiscoveryInput =
  | { readonly type: "begin" }
  | { readonly type: "packet"; readonly bytes: Uint8Array }
  | { readonly type: "timeout" };

export type DiscoveryOutput =
  | { readonly type: "send"; readonly socket: Probe; readonly to: Endpoint; readonly bytes: Uint8Array }
  | { readonly type: "done"; readonly behaviour: Behaviour };

/** Servers of one check. */
export const MAX_DISCOVERY_SERVERS = 8;

type Question =
  | { readonly ask: "reach"; readonly index: number }
  | { readonly ask: "other-address" | "other-port" }
  | { readonly ask: "opening" | "from-elsewhere" | "from-other-port" };

interface Tag {
  readonly question: Question;
  readonly socket: Probe;
  readonly to: Endpoint;
}

const CHANGE_BOTH = 0x06;
const CHANGE_PORT = 0x02;

export class Discovery implements Machine<DiscoveryInput, DiscoveryOutput> {
  readonly #own: ReadonlySet<string>;
  readonly #transactions: Transactions<Tag>;
  readonly #sightings: Sighting[];
  #stage: "reaching" | "asking" | "done" = "reaching";
  #mapping: NatMapping = "unknown";
  #filtering: NatFiltering = "unknown";
  /** The server with two addresses: where it was asked, where else it is, and what it saw first. */
  #witness: { readonly server: Endpoint; readonly other: Endpoint; readonly mapped: Endpoint } | undefined;
  #others = new Map<number, Endpoint>();
  #secondMapped: Endpoint | undefined;

  /** @param servers of one address family, at most {@link MAX_DISCOVERY_SERVERS}. @param own canonical addresses of this machine. */
  constructor(servers: readonly Endpoint[], own: ReadonlySet<string>, random: Random) {
    this.#own = own;
    this.#transactions = new Transactions(random, "datagram");
    const asked = servers.slice(0, MAX_DISCOVERY_SERVERS);
    this.#sightings = asked.map((server) => ({ server, mapped: undefined, rttMs: 0 }));
  }

  deadline(): Instant | undefined {
    return this.#transactions.deadline();
  }

  handle(input: DiscoveryInput, now: Instant): readonly DiscoveryOutput[] {
    if (this.#stage === "done") return NOTHING;
    switch (input.type) {
      case "begin":
        return [
          ...this.#sightings.map(({ server }, index) => this.#send({ ask: "reach", index }, 0, server, now)),
          ...this.#proceed(now),
        ];
      case "packet": {
        const settled = this.#transactions.answer(input.bytes, now);
        return settled === undefined ? NOTHING : [...this.#settle(settled, now), ...this.#proceed(now)];
      }
      case "timeout": {
        const { again, lost } = this.#transactions.due(now);
        const outputs: DiscoveryOutput[] = again.map(({ tag, bytes }) => {
          return { type: "send", socket: tag.socket, to: tag.to, bytes };
        });
        for (const settled of lost) outputs.push(...this.#settle(settled, now));
        return [...outputs, ...this.#proceed(now)];
      }
    }
  }

  #settle({ tag, answer, rttMs }: Settled<Tag>, now: Instant): readonly DiscoveryOutput[] {
    const { question } = tag;
    const mapped = mappedIn(answer);
    const witness = this.#witness;
    switch (question.ask) {
      case "reach": {
        this.#sightings[question.index] = { server: tag.to, mapped, rttMs };
        const other = endpointIn(answer, Attribute.otherAddress, true);
        if (other !== undefined) this.#others.set(question.index, other);
        return NOTHING;
      }
      case "other-address":
        if (witness === undefined || mapped === undefined) return NOTHING;
        if (isSame(mapped, witness.mapped)) {
          this.#mapping = "endpoint-independent";
          return NOTHING;
        }
        this.#secondMapped = mapped;
        return [this.#send({ ask: "other-port" }, 0, witness.other, now)];
      case "other-port":
        if (mapped !== undefined)
          this.#mapping =
            this.#secondMapped !== undefined && isSame(mapped, this.#secondMapped)
              ? "address-dependent"
              : "address-and-port-dependent";
        return NOTHING;
      case "opening":
        return mapped === undefined ? NOTHING : [this.#send({ ask: "from-elsewhere" }, 1, tag.to, now, CHANGE_BOTH)];
      case "from-elsewhere":
        if (mapped === undefined) return [this.#send({ ask: "from-other-port" }, 1, tag.to, now, CHANGE_PORT)];
        this.#filtering = "endpoint-independent";
        return NOTHING;
      case "from-other-port":
        this.#filtering = mapped === undefined ? "address-and-port-dependent" : "address-dependent";
        return NOTHING;
    }
  }

  /** Goes on when nothing is waited for any more. */
  #proceed(now: Instant): readonly DiscoveryOutput[] {
    if (!this.#transactions.idle) return NOTHING;
    if (this.#stage === "reaching") {
      this.#stage = "asking";
      const questions = this.#ask(now);
      if (questions.length > 0) return questions;
    }
    this.#stage = "done";
    const [sightings, mapping, filtering] = [this.#sightings, this.#mapping, this.#filtering];
    return [{ type: "done", behaviour: { sightings, mapping, filtering } }];
  }

  #ask(now: Instant): readonly DiscoveryOutput[] {
    const seen = this.#sightings.flatMap(({ server, mapped }, index) => (mapped ? [{ server, mapped, index }] : []));
    const first = seen[0];
    if (first === undefined) return NOTHING;
    const hasNat = !this.#own.has(first.mapped.address);
    if (!hasNat) this.#mapping = "none";
    else this.#mapping = compared(seen);
    const able = seen.find(({ server, index }) => {
      const other = this.#others.get(index);
      return other !== undefined && other.address !== server.address && other.port !== server.port;
    });
    const other = able && this.#others.get(able.index);
    if (able === undefined || other === undefined) return NOTHING;
    const { server, mapped } = able;
    this.#witness = { server, other, mapped };
    const opening = this.#send({ ask: "opening" }, 1, server, now);
    if (!hasNat) return [opening];
    this.#mapping = "unknown";
    return [this.#send({ ask: "other-address" }, 0, { address: other.address, port: server.port }, now), opening];
  }

  #send(question: Question, socket: Probe, to: Endpoint, now: Instant, change = 0): DiscoveryOutput {
    const bytes = this.#transactions.begin({ question, socket, to }, Method.binding, now, (writer) => {
      if (change > 0) writer.u32(Attribute.changeRequest, change);
    });
    return { type: "send", socket, to, bytes };
  }
}

/** What two servers on different addresses tell together. */
function compared(seen: readonly { readonly server: Endpoint; readonly mapped: Endpoint }[]): NatMapping {
  const [first] = seen;
  const second = seen.find(({ server }) => server.address !== first?.server.address);
  if (first === undefined || second === undefined) return "unknown";
  return isSame(first.mapped, second.mapped) ? "endpoint-independent" : "endpoint-dependent";
}

function isSame(one: Endpoint, other: Endpoint): boolean {
  return one.address === other.address && one.port === other.port;
}
