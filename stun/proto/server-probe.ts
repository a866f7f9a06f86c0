import { fromUtf8, utf8 } from "../../src/proto/bytes.ts";
import { type Instant, type Machine, NOTHING } from "../../src/proto/machine.ts";
import type { Random } from "../../src/proto/random.ts";
import { type Endpoint, endpointText } from "./address.ts";
import { Attribute, REASONS, type StunErrorCode } from "./attributes.ts";
import { type Integrity, longTermKey } from "./integrity.ts";
import { Method, type StunMessage } from "./message.ts";
import type { MessageWriter } from "./message-writer.ts";
import { endpointIn, errorCodeIn, mappedIn, type Settled, Transactions } from "./transactions.ts";

/**
 * Whether one server does what it is there for: a Binding for its round trip, and with a credential an allocation, which is given
 * back at once.
 */

export interface ServerProbeReport {
  /** The round trip of a Binding; undefined when none was answered. */
  readonly rttMs: number | undefined;
  readonly mapped: Endpoint | undefined;
  /** `address:port` of the allocation. */
  readonly relayed: string | undefined;
  /** What went wrong, for people; undefined when all is well. */
  readonly error: string | undefined;
}

export type ServerProbeInput =
  | { readonly type: "begin" }
  | { readonly type: "packet"; readonly bytes: Uint8Array }
  | { readonly type: "timeout" };

export type ServerProbeOutput =
  | { readonly type: "send"; readonly bytes: Uint8Array }
  | { readonly type: "done"; readonly report: ServerProbeReport };

export interface ProbeCredential {
  readonly username: string;
  readonly credential: string;
}

type Step = "binding" | "challenge" | "allocate" | "release";

/** UDP, as REQUESTED-TRANSPORT has it. */
const UDP = 17 << 24;

export class ServerProbe implements Machine<ServerProbeInput, ServerProbeOutput> {
  readonly #credential: ProbeCredential | undefined;
  readonly #transactions: Transactions<Step>;
  #rttMs: number | undefined;
  #mapped: Endpoint | undefined;
  #relayed: string | undefined;
  /** What the server has said of itself. */
  #realm = new Uint8Array();
  #nonce = new Uint8Array();
  #isDone = false;

  /** @param credential of a TURN server; without one the server is asked for a Binding only. */
  constructor(credential: ProbeCredential | undefined, transport: "datagram" | "stream", random: Random) {
    this.#credential = credential;
    this.#transactions = new Transactions(random, transport);
  }

  deadline(): Instant | undefined {
    return this.#transactions.deadline();
  }

  handle(input: ServerProbeInput, now: Instant): readonly ServerProbeOutput[] {
    if (this.#isDone) return NOTHING;
    switch (input.type) {
      case "begin":
        return [this.#send("binding", Method.binding, now)];
      case "packet": {
        const settled = this.#transactions.answer(input.bytes, now);
        return settled === undefined ? NOTHING : this.#settle(settled, now);
      }
      case "timeout": {
        const { again, lost } = this.#transactions.due(now);
        const resent = again.map(({ bytes }) => ({ type: "send", bytes }) as const);
        return [...resent, ...lost.flatMap((settled) => this.#settle(settled, now))];
      }
    }
  }

  #settle({ tag, answer, rttMs }: Settled<Step>, now: Instant): readonly ServerProbeOutput[] {
    switch (tag) {
      case "binding":
        this.#mapped = mappedIn(answer);
        if (answer === undefined) return this.#done("it does not answer");
        this.#rttMs = rttMs;
        if (this.#credential === undefined) return this.#done(undefined);
        return [this.#send("challenge", Method.allocate, now, udpTransport)];
      case "challenge":
        return this.#challenged(answer, now);
      case "allocate": {
        const relayed = endpointIn(answer, Attribute.xorRelayedAddress);
        if (answer === undefined || relayed === undefined) return this.#done(refusal(answer, "an allocation"));
        this.#relayed = endpointText(relayed);
        return this.#authentic("release", Method.refresh, now, (writer) => writer.u32(Attribute.lifetime, 0));
      }
      case "release":
        return this.#done(undefined);
    }
  }

  #challenged(answer: StunMessage | undefined, now: Instant): readonly ServerProbeOutput[] {
    if (errorCodeIn(answer) !== 401 || answer === undefined) return this.#done(refusal(answer, "a relay"));
    this.#realm = answer.value(Attribute.realm)?.slice() ?? new Uint8Array();
    this.#nonce = answer.value(Attribute.nonce)?.slice() ?? new Uint8Array();
    return this.#authentic("allocate", Method.allocate, now, udpTransport);
  }

  #authentic(
    step: Step,
    method: number,
    now: Instant,
    fill: (writer: MessageWriter) => void,
  ): readonly ServerProbeOutput[] {
    const { username = "", credential = "" } = this.#credential ?? {};
    const realm = fromUtf8(this.#realm) ?? "";
    const integrity: Integrity = { kind: "sha1", key: longTermKey(username, realm, credential, "md5") };
    const send = this.#send(step, method, now, (writer) => {
      fill(writer);
      writer
        .bytes(Attribute.username, utf8(username))
        .bytes(Attribute.realm, this.#realm)
        .bytes(Attribute.nonce, this.#nonce)
        .integrity(integrity);
    });
    return [send];
  }

  #send(step: Step, method: number, now: Instant, fill?: (writer: MessageWriter) => void): ServerProbeOutput {
    return { type: "send", bytes: this.#transactions.begin(step, method, now, fill) };
  }

  #done(error: string | undefined): readonly ServerProbeOutput[] {
    this.#isDone = true;
    const report = { rttMs: this.#rttMs, mapped: this.#mapped, relayed: this.#relayed, error };
    return [{ type: "done", report }];
  }
}

function udpTransport(writer: MessageWriter): void {
  writer.u32(Attribute.requestedTransport, UDP);
}

function refusal(answer: StunMessage | undefined, what: string): string {
  const code = errorCodeIn(answer);
  if (code === undefined) return answer === undefined ? `no answer to a request for ${what}` : `no TURN server`;
  const reason = Object.hasOwn(REASONS, code) ? `${code} ${REASONS[code as StunErrorCode]}` : `${code}`;
  return code === 401 || code === 441 ? `the credential is refused (${reason})` : `it refuses ${what} (${reason})`;
}
