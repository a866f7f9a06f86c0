import { rootCertificates } from "node:tls";
import { type ClientOptions, WebSocket } from "ws";
import { StarlingError } from "../errors.ts";
import type { Instant } from "../proto/machine.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { Random } from "../proto/random.ts";
import { SignalingClient } from "../proto/signaling/client.ts";
import type {
  AgentRun,
  Attempt,
  HeldCredential,
  SignalingInput,
  SignalingOutput,
} from "../proto/signaling/client-events.ts";
import { clientLimits, signalingLimits } from "../proto/signaling/limits.ts";
import { HELLO_HEADER, HELLO_TAKEN } from "../proto/signaling/messages.ts";
import { TICKET_HEADER, TICKETS_OFFERED } from "../proto/signaling/resumption.ts";
import type { SignatureLabel, Statement } from "../proto/signed.ts";

/** Drives a {@link SignalingClient} over `ws`: one WebSocket at a time, one timer, signatures through the agent's key. */

/** The effects that this driver carries out itself; everything else is for the agent. */
type Internal = "connect" | "transmit" | "disconnect" | "sign" | "verify" | "seek-desk" | "unseal" | "agree";

/** What the agent hears of a server. */
export type SignalingEvent = Exclude<SignalingOutput, { type: Internal }>;

/** What the agent may ask of a server. */
export type SignalingCommand = Extract<
  SignalingInput,
  {
    type:
      | "credential"
      | "present"
      | "desk"
      | "answer"
      | "signal"
      | "introduce"
      | "ice"
      | "renew"
      | "compare"
      | "decrees"
      | "nudge";
  }
>;

/** The agent's key, as far as signaling needs it. A signature that fails is a login that times out. */
export interface SignalingKeys {
  sign(label: SignatureLabel, body: Uint8Array): Uint8Array | Promise<Uint8Array>;
  verify(statement: Statement): boolean | Promise<boolean>;
  /** Chooses one of `desks` that may exchange `token`, and seals a request for it; a word for people when there is none. */
  askDesk(token: string, desks: readonly Uint8Array[]): DeskRequest | string | Promise<DeskRequest | string>;
}

/** A request for the desk of `kid`. */
interface DeskRequest {
  readonly kid: string;
  readonly request: Uint8Array;
  readonly open: OpenAnswer;
}

/** Opens the answer to a request to a desk; undefined when it does not open. */
export type OpenAnswer = (sealed: Uint8Array) => Extract<SignalingInput, { type: "unsealed" }>["answer"] | undefined;

/** See {@link SignalingOptions.tls}. */
export interface SignalingTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface SignalingOptions {
  /** `ws://` or `wss://`; see {@link parseSignalingUrl}. */
  readonly url: string;
  readonly peer: PeerId;
  readonly cluster: string;
  /** The same for all servers of an agent. */
  readonly run: AgentRun;
  readonly credential: HeldCredential;
  /** For `wss://`: authorities to trust beside the system's, and a certificate of our own for servers that ask. PEM. */
  readonly tls?: SignalingTls;
  readonly keys: SignalingKeys;
  /** For jitter only. */
  readonly random: Random;
  readonly now: () => Instant;
}

/** A connection to one server, kept up until it is closed. */
export interface SignalingConnection extends AsyncDisposable {
  /** The URL in canonical form. */
  readonly url: string;
  readonly state: SignalingClient["state"];
  /** Signals travel unencrypted below their own seal, and so does the token: worth a warning. */
  readonly plaintext: boolean;
  /** Never throws; what comes of it is an event. Without effect once the connection is closed. */
  command(command: SignalingCommand): void;
  /** Says goodbye, then closes. Ends within a second. */
  leave(): Promise<void>;
  /** Closes at once. Ends when the socket is gone. Idempotent; no event follows. */
  close(): Promise<void>;
}

/** Bytes that may wait for a server that does not read: 16 signals of full size. */
const MAX_QUEUED_BYTES = 1_048_576;

/** How long the closing handshake may take before the socket is destroyed, ms. */
const CLOSE_TIMEOUT_MS = 1_000;

const WEBSOCKET_OPTIONS: ClientOptions & { readonly closeTimeout: number } = {
  perMessageDeflate: false,
  maxPayload: signalingLimits.serverMessageBytes,
  handshakeTimeout: clientLimits.connectMs,
  closeTimeout: CLOSE_TIMEOUT_MS,
  followRedirects: false,
};

function socketOptions(tls: SignalingTls | undefined): ClientOptions {
  if (tls === undefined) return WEBSOCKET_OPTIONS;
  const { ca, ...own } = tls;
  return { ...WEBSOCKET_OPTIONS, ...own, ...(ca !== undefined && { ca: [...rootCertificates, ca] }) };
}

/** A signaling server's address. */
export interface SignalingUrl {
  /** In canonical form. */
  readonly url: string;
  /** Host and port as the URL has them, the default port left out: the name that logins are signed for. */
  readonly serverName: string;
  /** `ws://` to another machine: whoever is on the path sees the token and who talks to whom. */
  readonly plaintext: boolean;
}

/**
 * Parses the URL of a signaling server: `ws://host:port/path` or `wss://…`, without user, password or fragment.
 *
 * `ws://` is permitted everywhere, since signals are sealed from end to end and a member token is bound to its key. Only a
 * join token is of use to a listener; hence `plaintext` for every host but this machine.
 *
 * @throws {StarlingError} `config-invalid`
 */
export function parseSignalingUrl(text: string): SignalingUrl {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^wss?:$/.test(url.protocol) || url.host === "")
    throw new StarlingError("config-invalid", "a signaling server's URL begins with ws:// or wss:// and names a host");
  if (url.username !== "" || url.password !== "" || url.hash !== "")
    throw new StarlingError("config-invalid", "a signaling server's URL has no user, password or fragment");
  const loopback = /^(localhost|.+\.localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  return { url: url.href, serverName: url.host, plaintext: url.protocol === "ws:" && !loopback };
}

/**
 * Connects to a signaling server and stays connected.
 *
 * @param notify is called synchronously with what happens, never before this function has returned and never after `close`.
 * @throws {StarlingError} `config-invalid` for a URL that is none.
 */
export function connectSignaling(
  options: SignalingOptions,
  notify: (event: SignalingEvent) => void,
): SignalingConnection {
  return new Connection(options, notify);
}

class Connection implements SignalingConnection {
  readonly url: string;
  readonly plaintext: boolean;
  readonly #machine: SignalingClient;
  readonly #socketOptions: ClientOptions;
  readonly #options: SignalingOptions;
  readonly #notify: (event: SignalingEvent) => void;
  readonly #sockets = new Set<WebSocket>();
  readonly #waiting: SignalingInput[] = [];
  #current: { readonly attempt: Attempt; readonly socket: WebSocket } | undefined;
  #openAnswer: OpenAnswer | undefined;
  #busy = false;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;
  #armedFor: Instant | undefined;

  constructor(options: SignalingOptions, notify: (event: SignalingEvent) => void) {
    const { url, serverName, plaintext } = parseSignalingUrl(options.url);
    this.url = url;
    this.plaintext = plaintext;
    this.#options = options;
    this.#socketOptions = socketOptions(options.tls);
    this.#notify = notify;
    this.#machine = new SignalingClient({ ...options, serverName });
    this.#arm();
  }

  get state(): SignalingClient["state"] {
    return this.#closed ? "stopped" : this.#machine.state;
  }

  command(command: SignalingCommand): void {
    this.#input(command);
  }

  async leave(): Promise<void> {
    this.#input({ type: "leave" });
    await this.#end();
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const socket of this.#sockets) socket.terminate();
    await this.#end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #end(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await Promise.all(Array.from(this.#sockets, gone));
  }

  /** Applies an input and all that follow from it; an input that comes up meanwhile waits its turn. */
  #input(input: SignalingInput): void {
    if (this.#closed) return;
    this.#waiting.push(input);
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
        for (const output of this.#machine.handle(next, this.#options.now())) this.#perform(output);
      }
    } finally {
      this.#busy = false;
    }
    this.#arm();
  }

  #arm(): void {
    const deadline = this.#closed ? undefined : this.#machine.deadline();
    if (deadline === this.#armedFor) return;
    clearTimeout(this.#timer);
    this.#armedFor = deadline;
    if (deadline === undefined) return;
    const waitMs = Math.max(0, Math.ceil(deadline - this.#options.now()));
    this.#timer = setTimeout(this.#fire, waitMs);
  }

  readonly #fire = (): void => {
    this.#armedFor = undefined;
    this.#input({ type: "timeout" });
  };

  #perform(output: SignalingOutput): void {
    switch (output.type) {
      case "connect":
        this.#connect(output);
        return;
      case "transmit":
        this.#transmit(output.attempt, output.bytes);
        return;
      case "disconnect":
        if (this.#current?.attempt === output.attempt) this.#current.socket.close(1000);
        return;
      case "sign": {
        const { label, body, resume } = output;
        const sign = () => this.#options.keys.sign(label, body);
        void settle(sign, (signature) => this.#input({ type: "signed", signature, resume }));
        return;
      }
      case "verify": {
        const { statements, resume } = output;
        const check = () => Promise.all(statements.map((statement) => this.#options.keys.verify(statement)));
        void settle(check, (valid) => {
          if (valid.every(Boolean)) this.#input({ type: "verified", resume });
        });
        return;
      }
      case "seek-desk": {
        const { attempt, token, desks } = output;
        const ask = () => this.#options.keys.askDesk(token, desks);
        void settle(ask, (asked) => {
          if (this.#current?.attempt !== attempt) return;
          if (typeof asked === "string") this.#input({ type: "no-desk", attempt, detail: asked });
          else {
            this.#openAnswer = asked.open;
            this.#input({ type: "request", attempt, kid: asked.kid, bytes: asked.request });
          }
        });
        return;
      }
      case "unseal": {
        const answer = this.#openAnswer?.(output.bytes);
        if (answer !== undefined) this.#input({ type: "unsealed", attempt: output.attempt, answer });
        return;
      }
      case "agree": {
        const { share, ticket, lifeMs } = output;
        const agreed = this.#options.run.share?.agree(share);
        if (agreed !== undefined) this.#input({ type: "agreed", share, ticket, lifeMs, agreed });
        return;
      }
      default:
        if (!this.#closed) this.#notify(output);
    }
  }

  #connect({ attempt, hello, resumption }: Extract<SignalingOutput, { type: "connect" }>): void {
    const headers = {
      [HELLO_HEADER]: Buffer.from(hello).toString("base64url"),
      ...(resumption && { [TICKET_HEADER]: Buffer.from(resumption).toString("base64url") }),
    };
    const socket = new WebSocket(this.url, { ...this.#socketOptions, headers });
    let reason = "";
    let heard = false;
    let tickets = false;
    this.#sockets.add(socket);
    this.#current = { attempt, socket };
    socket.on("upgrade", (response) => {
      heard = response.headers[HELLO_HEADER] === HELLO_TAKEN;
      tickets = response.headers[TICKET_HEADER] === TICKETS_OFFERED;
    });
    socket.on("open", () => this.#input({ type: "opened", attempt, heard, tickets }));
    socket.on("message", (data, isBinary) => {
      // Copied: what the agent keeps of it must not hold on to a buffer of the network, nor be a Buffer, whose `slice` differs.
      if (isBinary && data instanceof Uint8Array)
        this.#input({ type: "received", attempt, bytes: new Uint8Array(data) });
      else socket.close(1003);
    });
    socket.on("error", (error) => {
      reason = error.message;
    });
    socket.on("close", (code, text) => {
      this.#sockets.delete(socket);
      this.#input({ type: "closed", attempt, reason: reason || text.toString() || `WebSocket code ${code}` });
    });
  }

  #transmit(attempt: Attempt, bytes: Uint8Array): void {
    if (this.#current?.attempt !== attempt) return;
    const { socket } = this.#current;
    if (socket.readyState !== WebSocket.OPEN) return;
    socket.send(bytes);
    if (socket.bufferedAmount > MAX_QUEUED_BYTES) socket.terminate();
  }
}

/** Goes on with an answer. A failure is an answer that never comes: the machine's deadline ends the wait. */
async function settle<T>(question: () => T | Promise<T>, next: (value: T) => void): Promise<void> {
  let answer: T;
  try {
    answer = await question();
  } catch {
    return;
  }
  next(answer);
}

function gone(socket: WebSocket): Promise<void> {
  return new Promise((resolve) => {
    socket.once("close", () => resolve());
  });
}
