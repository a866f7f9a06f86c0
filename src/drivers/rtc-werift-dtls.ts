import { createHash, createHmac, timingSafeEqual, verify, X509Certificate } from "node:crypto";
import type { DtlsSocket } from "werift";

/**
 * What werift's DTLS 1.2 (RFC 6347, RFC 5246) leaves unchecked, checked from outside.
 *
 * werift 0.25.2 compares the certificate presented with the fingerprint in the SDP, and stops there: it verifies neither
 * the signature of the ServerKeyExchange, nor the CertificateVerify, nor either Finished. Certificates travel in the clear,
 * so whoever sits on the path could present both ends' certificates with keys of its own, and admission, which binds
 * identities to fingerprints, would pass through it untouched. Further, once connected it takes a plaintext ClientHello
 * from any address as a renegotiation, with any certificate, and a plaintext alert as the end.
 *
 * The guard therefore
 * - lets each handshake message through once: of two that differ, the keys could come from one and the proof from the other;
 * - when the handshake ends, verifies the peer's signature with the key of the certificate that it presented, and its
 *   Finished with the master secret; the connection is worth nothing before {@link DtlsGuard.established};
 * - from then on drops plaintext records, hellos and unauthenticated alerts.
 *
 * It reads only public fields of werift's socket. Trust in the certificate itself (the fingerprint) stays with werift,
 * and the fingerprint of what was presented is here for admission to bind.
 */

type HandshakeMessage = Parameters<DtlsSocket["onHandleHandshakes"]>[0][number];

const HELLO = 1;
const SERVER_HELLO = 2;
const HELLO_VERIFY = 3;
const CERTIFICATE = 11;
const SERVER_KEY = 12;
const CERTIFICATE_REQUEST = 13;
const SERVER_DONE = 14;
const CERTIFICATE_VERIFY = 15;
const CLIENT_KEY = 16;
const FINISHED = 20;

const FROM_SERVER: readonly number[] = [
  SERVER_HELLO,
  CERTIFICATE,
  SERVER_KEY,
  CERTIFICATE_REQUEST,
  SERVER_DONE,
  FINISHED,
];
const FROM_CLIENT: readonly number[] = [CERTIFICATE, CERTIFICATE_VERIFY, CLIENT_KEY, FINISHED];

const ALERT = 21;
const HANDSHAKE = 22;
const APPLICATION_DATA = 23;
const RECORD_HEADER_BYTES = 13;

/** A flight number past the last: werift's retransmission loops end when they see it. */
const NO_MORE_FLIGHTS = 99;

/** What comes out of a {@link DtlsGuard}. */
export interface DtlsListener {
  /** Once: the peer has proved itself. */
  established(): void;
  /** The connection must end. */
  fault(reason: string): void;
}

/** Watches over one DTLS socket of werift from before its first packet. */
export class DtlsGuard {
  readonly #socket: DtlsSocket;
  readonly #isClient: boolean;
  readonly #listener: DtlsListener;
  readonly #first = new Map<number, HandshakeMessage>();
  #cookieSeen = false;
  #established = false;

  constructor(socket: DtlsSocket, role: "client" | "server", listener: DtlsListener) {
    this.#socket = socket;
    this.#isClient = role === "client";
    this.#listener = listener;
    const handle = socket.onHandleHandshakes;
    socket.onHandleHandshakes = async (messages) => {
      const admitted = messages.filter((message) => this.#admit(message));
      if (admitted.length > 0) await handle(admitted);
    };
    const wire = socket.transport.socket;
    const receive = wire.onData;
    wire.onData = (data, from) => {
      if (this.#established) this.#filter(data, (record) => receive(record, from));
      else receive(data, from);
    };
    socket.onConnect.once(() => this.#conclude());
  }

  /** Whether the peer has proved that it holds the key of its certificate, and saw the same handshake. */
  get established(): boolean {
    return this.#established;
  }

  /** SHA-256 of the certificate that the peer presented, 32 bytes; undefined before {@link established}. */
  fingerprint(): Uint8Array | undefined {
    const certificate = this.#socket.remoteCertificate;
    return this.#established && certificate !== undefined ? new Uint8Array(sha256(certificate)) : undefined;
  }

  /**
   * Ends werift's retransmission loops, which would keep the process alive for up to 33 s after a close. For good: a client
   * begins its first flight 100 ms after its socket was made, also when it has been closed meanwhile.
   */
  stop(): void {
    Object.defineProperty(this.#socket.dtls, "flight", { get: () => NO_MORE_FLIGHTS, set: () => {} });
  }

  #admit(message: HandshakeMessage): boolean {
    const type = message.msg_type;
    // A client that lost our last flight repeats its Finished, to which werift repeats the flight.
    if (this.#established) return !this.#isClient && type === FINISHED;
    if (this.#isClient && type === HELLO_VERIFY) return true;
    if (!this.#isClient && type === HELLO) return this.#admitHello(message.fragment);
    if (!(this.#isClient ? FROM_SERVER : FROM_CLIENT).includes(type)) return false;
    const first = this.#first.get(type);
    if (first === undefined) {
      this.#first.set(type, message);
      return true;
    }
    if (!first.fragment.equals(message.fragment)) {
      this.#listener.fault(`DTLS handshake message ${type} came twice, with different content`);
      return false;
    }
    // Repeats of these make werift repeat its own flight; of any other they would change its keys.
    return type === SERVER_DONE || type === FINISHED;
  }

  /** A late ClientHello without a cookie would make werift's server draw new keys in the middle of the handshake. */
  #admitHello(hello: Buffer): boolean {
    const sessionIdBytes = hello[34] ?? 0;
    const hasCookie = (hello[35 + sessionIdBytes] ?? 0) > 0;
    if (hasCookie) this.#cookieSeen = true;
    return hasCookie || !this.#cookieSeen;
  }

  #conclude(): void {
    let fault: string | undefined;
    try {
      fault = (this.#isClient ? this.#serverFault() : this.#clientFault()) ?? this.#finishedFault();
    } catch (error) {
      fault = `DTLS certificate or signature cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    }
    if (fault !== undefined) {
      this.#listener.fault(fault);
      return;
    }
    this.#established = true;
    this.#listener.established();
  }

  /** RFC 8422, section 5.4: the server signs both randoms and its ephemeral key with the key of its certificate. */
  #serverFault(): string | undefined {
    const hello = this.#first.get(SERVER_HELLO)?.fragment;
    const exchange = this.#first.get(SERVER_KEY)?.fragment;
    if (hello === undefined || exchange === undefined) return "DTLS handshake incomplete";
    const parameters = exchange.subarray(0, 4 + (exchange[3] ?? 0));
    const proof = exchange.subarray(parameters.length);
    const signed = Buffer.concat([this.#socket.cipher.localRandom.serialize(), hello.subarray(2, 34), parameters]);
    return this.#signatureFault(signed, proof);
  }

  /** RFC 5246, section 7.4.8: the client signs all handshake messages before its CertificateVerify. */
  #clientFault(): string | undefined {
    const proof = this.#first.get(CERTIFICATE_VERIFY)?.fragment;
    if (proof === undefined || !this.#first.has(CLIENT_KEY)) return "DTLS handshake incomplete";
    return this.#signatureFault(this.#transcript([CERTIFICATE_VERIFY, FINISHED]), proof);
  }

  /** `proof`: hash, signature algorithm, length, signature. werift offers SHA-256 with ECDSA or RSA (PKCS #1) only. */
  #signatureFault(signed: Buffer, proof: Buffer): string | undefined {
    const certificate = this.#socket.remoteCertificate;
    if (certificate === undefined) return "no DTLS certificate presented";
    if (proof.length < 4 || proof.length !== 4 + proof.readUInt16BE(2)) return "DTLS signature malformed";
    const key = new X509Certificate(certificate).publicKey;
    const algorithm = key.asymmetricKeyType === "ec" ? 3 : key.asymmetricKeyType === "rsa" ? 1 : undefined;
    if (proof[0] !== 4 || proof[1] !== algorithm) return "DTLS signature algorithm was not offered";
    if (verify("sha256", signed, key, proof.subarray(4))) return undefined;
    return "the peer does not hold the key of the DTLS certificate that it presented";
  }

  /** RFC 5246, section 7.4.9: twelve bytes that depend on the master secret and on every handshake message. */
  #finishedFault(): string | undefined {
    const finished = this.#first.get(FINISHED)?.fragment;
    const label = this.#isClient ? "server finished" : "client finished";
    // The client's own Finished, in its own cache, is part of what the server's covers.
    const transcript = this.#transcript(this.#isClient ? [] : [FINISHED]);
    const seed = Buffer.concat([Buffer.from(label), sha256(transcript)]);
    const secret = this.#socket.cipher.masterSecret;
    const expected = hmac(secret, Buffer.concat([hmac(secret, seed), seed])).subarray(0, 12);
    const fits = finished?.length === 12 && timingSafeEqual(finished, expected);
    return fits ? undefined : "the two ends saw different DTLS handshakes";
  }

  #transcript(without: readonly number[]): Buffer {
    const messages = this.#socket.dtls.sortedHandshakeCache.filter(({ msg_type }) => !without.includes(msg_type));
    return Buffer.concat(messages.map((message) => message.serialize()));
  }

  /** Passes on what may follow the handshake: encrypted data, and to a server the repeated Finished. */
  #filter(data: Buffer, pass: (record: Buffer) => void): void {
    let start = 0;
    while (start + RECORD_HEADER_BYTES <= data.length) {
      const end = start + RECORD_HEADER_BYTES + data.readUInt16BE(start + 11);
      if (end > data.length) return;
      const type = data[start];
      const isEncrypted = data.readUInt16BE(start + 3) === 1;
      const record = start === 0 && end === data.length ? data : data.subarray(start, end);
      if (isEncrypted && (type === APPLICATION_DATA || (type === HANDSHAKE && !this.#isClient))) pass(record);
      else if (isEncrypted && type === ALERT) this.#alert(record);
      start = end;
    }
  }

  /** An alert counts if it decrypts: the peer closes, or gives up. */
  #alert(record: Buffer): void {
    let alert: Buffer;
    try {
      alert = this.#socket.cipher.cipher.decrypt(this.#socket.sessionType, record.subarray(RECORD_HEADER_BYTES), {
        type: ALERT,
        version: record.readUInt16BE(1),
        epoch: 1,
        sequenceNumber: record.readUIntBE(5, 6),
      });
    } catch {
      return;
    }
    const [level, description] = alert;
    if (description === 0) this.#listener.fault("the peer closed DTLS");
    else if (level === 2) this.#listener.fault(`the peer ended DTLS with alert ${description}`);
  }
}

function sha256(data: Uint8Array): Buffer {
  return createHash("sha256").update(data).digest();
}

function hmac(key: Buffer, data: Buffer): Buffer {
  return createHmac("sha256", key).update(data).digest();
}
