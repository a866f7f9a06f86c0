import { utf8 } from "../../../src/proto/bytes.ts";
import { addressBytes, type Endpoint } from "../../../stun/proto/address.ts";
import { Attribute, readXorAddress } from "../../../stun/proto/attributes.ts";
import { CHANNEL_HEADER_BYTES, writeChannelData } from "../../../stun/proto/channel-data.ts";
import type { Integrity } from "../../../stun/proto/integrity.ts";
import { MessageClass, Method, type StunMessage } from "../../../stun/proto/message.ts";
import { MessageWriter } from "../../../stun/proto/message-writer.ts";

/** Builds what clients send, and reads what they get. */

export type Fill = (writer: MessageWriter) => void;

let transactions = 0;

/** A message; each has a transaction id of its own unless one is given. */
export function message(cls: number, method: number, fill: Fill = () => {}, transaction?: number): Uint8Array {
  const header = new Uint8Array(20);
  const view = new DataView(header.buffer);
  view.setUint32(8, 0x7e571234);
  view.setUint32(16, transaction ?? ++transactions);
  const target = new Uint8Array(70_000);
  const writer = new MessageWriter(target, cls, method, header);
  fill(writer);
  return target.slice(0, writer.finish());
}

export function request(method: number, fill?: Fill, transaction?: number): Uint8Array {
  return message(MessageClass.request, method, fill, transaction);
}

/** What a client signs with. */
export interface Signature {
  readonly username: string;
  readonly realm: string;
  readonly nonce: Uint8Array;
  readonly integrity: Integrity;
}

/** A signed request. */
export function signed(method: number, signature: Signature, fill: Fill = () => {}, transaction?: number): Uint8Array {
  return request(
    method,
    (writer) => {
      fill(writer);
      writer
        .bytes(Attribute.username, utf8(signature.username))
        .bytes(Attribute.realm, utf8(signature.realm))
        .bytes(Attribute.nonce, signature.nonce)
        .integrity(signature.integrity);
    },
    transaction,
  );
}

export const udpTransport: Fill = (writer) => {
  writer.bytes(Attribute.requestedTransport, Uint8Array.of(17, 0, 0, 0));
};

/** Appends XOR-PEER-ADDRESS for each peer. */
export function peers(...endpoints: readonly Endpoint[]): Fill {
  return (writer) => {
    for (const { address, port } of endpoints) {
      const bytes = addressBytes(address);
      if (bytes === undefined) throw new Error(`${address} is no address`);
      writer.xorAddress(Attribute.xorPeerAddress, bytes, port);
    }
  };
}

export function channelTo(number: number, peer: Endpoint): Fill {
  return (writer) => {
    writer.bytes(Attribute.channelNumber, Uint8Array.of(number >> 8, number & 0xff, 0, 0));
    peers(peer)(writer);
  };
}

export function sendIndication(peer: Endpoint, payload: Uint8Array, fill: Fill = () => {}): Uint8Array {
  return message(MessageClass.indication, Method.send, (writer) => {
    peers(peer)(writer);
    fill(writer);
    writer.bytes(Attribute.data, payload);
  });
}

export function channelData(number: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(CHANNEL_HEADER_BYTES + payload.length);
  writeChannelData(bytes, number, payload);
  return bytes;
}

/** ERROR-CODE of an answer; undefined when it is none. */
export function errorCode(answer: StunMessage): number | undefined {
  const value = answer.value(Attribute.errorCode);
  return value && (value[2] as number) * 100 + (value[3] as number);
}

/** Every XOR-ed address of a type. */
export function addressesOf(answer: StunMessage, type: number): Endpoint[] {
  const found: Endpoint[] = [];
  for (let at = answer.find(type); at > 0; at = answer.next(type, at)) {
    const endpoint = readXorAddress(answer.bytes, at, answer.length(at));
    if (endpoint !== undefined) found.push(endpoint);
  }
  return found;
}
