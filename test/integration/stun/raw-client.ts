import { createSocket, type Socket } from "node:dgram";
import type { Endpoint } from "../../../stun/proto/address.ts";
import { Attribute } from "../../../stun/proto/attributes.ts";
import { CHANNEL_HEADER_BYTES } from "../../../stun/proto/channel-data.ts";
import { type Integrity, longTermKey } from "../../../stun/proto/integrity.ts";
import { MessageClass, Method, parseMessage, type StunMessage, u16 } from "../../../stun/proto/message.ts";
import {
  addressesOf,
  channelData,
  channelTo,
  errorCode,
  type Fill,
  peers,
  request,
  sendIndication,
  signed,
  udpTransport,
} from "../../proto/stun/requests.ts";

/** A TURN client that says exactly what it is told to, over UDP on loopback. */

export interface RawCredential {
  readonly username: string;
  readonly password: string;
  readonly realm: string;
}

export class RawClient {
  readonly socket: Socket;
  readonly #server: Endpoint;
  readonly #integrity: Integrity | undefined;
  readonly #credential: RawCredential | undefined;
  readonly #waiting = new Map<number, (message: StunMessage) => void>();
  #nonce: Uint8Array | undefined;
  /** Payloads that arrived on channels, while nobody else listens. */
  onChannelData: (number: number, payload: Uint8Array) => void = () => {};
  onData: (peer: Endpoint, payload: Uint8Array) => void = () => {};

  private constructor(socket: Socket, server: Endpoint, credential: RawCredential | undefined) {
    this.socket = socket;
    this.#server = server;
    this.#credential = credential;
    if (credential !== undefined) {
      const { username, realm, password } = credential;
      this.#integrity = { kind: "sha1", key: longTermKey(username, realm, password, "md5") };
    }
    socket.on("message", (bytes) => this.#receive(bytes));
  }

  static async open(server: Endpoint, credential?: RawCredential): Promise<RawClient> {
    const isIpv6 = server.address.includes(":");
    const socket = createSocket({ type: isIpv6 ? "udp6" : "udp4", recvBufferSize: 4 * 1_048_576 });
    await new Promise<void>((resolve) => socket.bind(0, isIpv6 ? "::1" : "127.0.0.1", resolve));
    return new RawClient(socket, server, credential);
  }

  close(): void {
    this.socket.close();
  }

  send(bytes: Uint8Array): void {
    this.socket.send(bytes, this.#server.port, this.#server.address);
  }

  /** Sends a request and waits for its answer; undefined when none comes in time. */
  ask(bytes: Uint8Array, waitMs = 1_000): Promise<StunMessage | undefined> {
    const id = new DataView(bytes.buffer, bytes.byteOffset).getUint32(16);
    return new Promise((resolve) => {
      const timer = setTimeout(() => settle(undefined), waitMs);
      const settle = (message: StunMessage | undefined): void => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        resolve(message);
      };
      this.#waiting.set(id, settle);
      this.send(bytes);
    });
  }

  /** An authenticated request: fetches a nonce first where it has none, and again where it is stale. */
  async authentic(method: number, fill: Fill = () => {}): Promise<StunMessage | undefined> {
    if (this.#nonce === undefined) this.#learn(await this.ask(request(method, fill)));
    const answer = await this.ask(this.signed(method, fill));
    if (answer === undefined || errorCode(answer) !== 438) return answer;
    this.#learn(answer);
    return this.ask(this.signed(method, fill));
  }

  /** The bytes of an authenticated request with the nonce at hand. */
  signed(method: number, fill: Fill = () => {}): Uint8Array {
    const [credential, integrity, nonce] = [this.#credential, this.#integrity, this.#nonce];
    if (credential === undefined || integrity === undefined || nonce === undefined) throw new Error("no credential");
    const { username, realm } = credential;
    return signed(method, { username, realm, nonce, integrity }, fill);
  }

  /** Takes another client's nonce, which is good for the same address. */
  borrowNonce(from: RawClient): void {
    this.#nonce = from.#nonce;
  }

  /** Allocates a relayed address; throws what the server answers instead. */
  async allocate(fill: Fill = () => {}): Promise<Endpoint> {
    const answer = await this.authentic(Method.allocate, (writer) => {
      udpTransport(writer);
      fill(writer);
    });
    const [relayed] = answer === undefined ? [] : addressesOf(answer, Attribute.xorRelayedAddress);
    if (relayed === undefined) throw new Error(`no allocation: ${answer && errorCode(answer)}`);
    return relayed;
  }

  permit(...hosts: readonly Endpoint[]): Promise<StunMessage | undefined> {
    return this.authentic(Method.createPermission, peers(...hosts));
  }

  bind(number: number, peer: Endpoint): Promise<StunMessage | undefined> {
    return this.authentic(Method.channelBind, channelTo(number, peer));
  }

  refresh(seconds: number): Promise<StunMessage | undefined> {
    return this.authentic(Method.refresh, (writer) => writer.u32(Attribute.lifetime, seconds));
  }

  sendOnChannel(number: number, payload: Uint8Array): void {
    this.send(channelData(number, payload));
  }

  sendIndication(peer: Endpoint, payload: Uint8Array): void {
    this.send(sendIndication(peer, payload));
  }

  #learn(challenge: StunMessage | undefined): void {
    const nonce = challenge?.value(Attribute.nonce);
    if (nonce === undefined) throw new Error("no nonce");
    this.#nonce = nonce.slice();
  }

  #receive(bytes: Buffer): void {
    if ((bytes[0] ?? 0) >= 0x40) {
      this.onChannelData(u16(bytes, 0), bytes.subarray(CHANNEL_HEADER_BYTES));
      return;
    }
    const message = parseMessage(bytes);
    if (message === undefined) throw new Error(`not a message: ${bytes.toString("hex")}`);
    if (message.cls !== MessageClass.indication) {
      this.#waiting.get(new DataView(bytes.buffer, bytes.byteOffset).getUint32(16))?.(message);
      return;
    }
    const [peer] = addressesOf(message, Attribute.xorPeerAddress);
    const data = message.value(Attribute.data);
    if (peer !== undefined && data !== undefined) this.onData(peer, data);
  }
}
