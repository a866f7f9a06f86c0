import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import { decodeClientMessage } from "../../../src/proto/signaling/client-messages.ts";
import type { ClientMessage, Malformed, ServerMessage } from "../../../src/proto/signaling/messages.ts";
import { encodeServerMessage } from "../../../src/proto/signaling/server-messages.ts";
import type { Cluster } from "../../../src/proto/trust/cluster.ts";
import { encodeSignedIssuers } from "../../../src/proto/trust/issuers.ts";
import { crypto } from "./lab.ts";

/** A letter on its way through the server. */
export interface Relayed {
  readonly from: PeerId;
  readonly to: PeerId;
  readonly bytes: Uint8Array;
}

/**
 * A signaling server in bad hands: it welcomes everybody, keeps all that it sees, and does with letters and records what the
 * test says.
 */
export class RogueServer {
  /** Every letter that was handed to it, as it came. */
  readonly letters: Relayed[] = [];
  /** The newest record of each agent, as it came. */
  readonly records = new Map<PeerId, Uint8Array>();
  /** What is handed on in place of a letter; undefined drops it. Default: the letter. */
  relay: (letter: Relayed) => Uint8Array | undefined = ({ bytes }) => bytes;
  /** What `reader` is given in place of the record of `subject`; undefined leaves it out. Default: the record. */
  introduce: (reader: PeerId, subject: PeerId, record: Uint8Array) => Uint8Array | undefined = (_r, _s, record) =>
    record;
  /** The desks that its challenges name. */
  desks: readonly Uint8Array[] = [];
  /** Sealed requests for a desk, as they came. */
  readonly requests: Uint8Array[] = [];
  /** What a request is answered with; undefined leaves it without an answer. */
  answer: (request: Uint8Array, kid: string) => Promise<Uint8Array | undefined> = async () => undefined;
  readonly #web: WebSocketServer;
  readonly #cluster: Cluster;
  readonly #sockets = new Map<PeerId, WebSocket>();

  private constructor(web: WebSocketServer, cluster: Cluster) {
    this.#web = web;
    this.#cluster = cluster;
    web.on("connection", (socket) => this.#serve(socket));
  }

  static async open(cluster: Cluster): Promise<RogueServer> {
    const web = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
    await new Promise<void>((resolve) => web.once("listening", resolve));
    return new RogueServer(web, cluster);
  }

  /** The cluster as agents know it that use this server. */
  get cluster(): Cluster {
    const { port } = this.#web.address() as AddressInfo;
    return { ...this.#cluster, signaling: [`ws://127.0.0.1:${port}`] };
  }

  /** Hands `to` a letter, whoever made it. */
  inject(from: PeerId, to: PeerId, bytes: Uint8Array): void {
    this.#say(to, { type: "signal", from, bytes });
  }

  /** Hands `to` the records as introductions that it has not asked for. */
  push(to: PeerId, records: readonly Uint8Array[]): void {
    this.#say(to, { type: "introductions", records });
  }

  async close(): Promise<void> {
    for (const socket of this.#web.clients) socket.terminate();
    await new Promise((resolve) => this.#web.close(resolve));
  }

  #say(to: PeerId, message: ServerMessage): void {
    this.#sockets.get(to)?.send(encodeServerMessage(message));
  }

  #serve(socket: WebSocket): void {
    let peer: PeerId | undefined;
    socket.on("error", () => undefined);
    socket.on("message", (data) => {
      if (!(data instanceof Uint8Array)) return;
      const message = decodeClientMessage(new Uint8Array(data));
      if (message.type === "hello") {
        peer = message.peer;
        const { serverName } = message;
        const nonce = crypto.randomBytes(32);
        const serverTime = Date.now();
        const { desks } = this;
        socket.send(encodeServerMessage({ type: "challenge", version: 1, nonce, serverName, serverTime, desks }));
      } else if (message.type === "exchange") {
        const request = message.bytes.slice();
        this.requests.push(request);
        void this.answer(request, message.kid).then((bytes) => {
          if (bytes) socket.send(encodeServerMessage({ type: "exchanged", bytes }));
        });
      } else if (peer !== undefined) this.#answer(peer, socket, message);
    });
  }

  #answer(peer: PeerId, socket: WebSocket, message: ClientMessage | Malformed): void {
    switch (message.type) {
      case "login": {
        // Whatever was signed and shown is good enough.
        this.#sockets.set(peer, socket);
        const issuers = encodeSignedIssuers(this.#cluster.issuers);
        const expiresAt = Date.now() + 3_600_000;
        const introductions = this.#introductions(peer);
        this.#say(peer, { type: "welcome", expiresAt, issuers, introductions, iceServers: [] });
        break;
      }
      case "present":
        this.records.set(peer, message.record.slice());
        break;
      case "introduce":
        this.#say(peer, { type: "introductions", records: this.#introductions(peer) });
        break;
      case "signal": {
        const letter = { from: peer, to: message.to, bytes: message.bytes.slice() };
        this.letters.push(letter);
        const bytes = this.relay(letter);
        if (bytes) this.inject(peer, letter.to, bytes);
        break;
      }
      case "time":
        this.#say(peer, { type: "time", id: message.id, serverTime: Date.now() });
        break;
      case "renew":
        this.#say(peer, { type: "unrenewed", code: "unavailable", detail: "" });
        break;
    }
  }

  #introductions(reader: PeerId): Uint8Array[] {
    const records: Uint8Array[] = [];
    for (const [subject, record] of this.records) {
      const shown = subject === reader ? undefined : this.introduce(reader, subject, record);
      if (shown) records.push(shown);
    }
    return records;
  }
}
