import { StarlingError } from "../errors.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { LinkInput, LinkOutput, StreamPriority } from "../proto/streams/events.ts";
import { MeshStream, type StreamCarrier } from "./stream.ts";

/** Takes a stream that the peer has opened. */
export type LinkStreamHandler = (stream: MeshStream, from: PeerId) => void | Promise<void>;

/** Who serves the streams that a peer opens. */
export interface StreamListener {
  /** The peer opened a stream; undefined refuses it as an unknown protocol. */
  handler(protocol: string): LinkStreamHandler | undefined;
  /** The application's handler threw; its stream is reset. */
  handlerFailed(peer: PeerId, protocol: string, error: unknown): void;
}

/** What a link says about its streams. */
export type StreamOutput = Extract<
  LinkOutput,
  { type: "opening" | "unopened" | "opened" | "accepted" | "writable" | "ended" | "closed" | "refused" | "reset" }
>;

/** The streams of one link as applications hold them. */
export class LinkStreams {
  readonly #link: StreamCarrier & { readonly id: PeerId };
  readonly #input: (input: LinkInput) => void;
  readonly #listener: StreamListener;
  readonly #streams = new Map<number, MeshStream>();
  readonly #opening: PromiseWithResolvers<MeshStream>[] = [];

  constructor(
    link: StreamCarrier & { readonly id: PeerId },
    input: (input: LinkInput) => void,
    listener: StreamListener,
  ) {
    this.#link = link;
    this.#input = input;
    this.#listener = listener;
  }

  open(protocol: string, priority: StreamPriority): Promise<MeshStream> {
    const opening = Promise.withResolvers<MeshStream>();
    this.#opening.push(opening);
    // The answer, `opening` or `unopened`, is an output of this very input.
    this.#input({ type: "open", protocol, priority });
    return opening.promise;
  }

  deliver(id: number, message: Uint8Array): void {
    this.#streams.get(id)?.deliver(message);
  }

  /** This side has reset the stream. */
  forget(id: number): void {
    this.#streams.delete(id);
  }

  /** The link is over. */
  fail(failure: StarlingError): void {
    for (const stream of this.#streams.values()) stream.fail(failure);
    for (const opening of this.#opening.splice(0)) opening.reject(failure);
    this.#streams.clear();
  }

  perform(output: StreamOutput): void {
    switch (output.type) {
      case "opening":
        this.#opening.shift()?.resolve(this.#add(output.protocol, output.stream));
        break;
      case "unopened":
        this.#opening.shift()?.reject(new StarlingError("limit-reached", `no stream can be opened: ${output.reason}`));
        break;
      case "opened":
        this.#opened(output.stream, output.protocol);
        break;
      case "accepted":
        break;
      case "writable":
        this.#streams.get(output.stream)?.drained();
        break;
      case "ended":
        this.#streams.get(output.stream)?.ended();
        break;
      case "closed":
        this.#streams.get(output.stream)?.finish();
        this.#streams.delete(output.stream);
        break;
      case "refused":
        this.#lose(output.stream, `the member refused the stream: ${output.reason}`);
        break;
      case "reset":
        this.#lose(output.stream, `the member reset the stream with code ${output.code}`);
        break;
    }
  }

  #opened(id: number, protocol: string): void {
    const handler = this.#listener.handler(protocol);
    if (!handler) {
      this.#input({ type: "refuse", stream: id, reason: "unknown-protocol" });
      return;
    }
    const stream = this.#add(protocol, id);
    this.#input({ type: "accept", stream: id });
    void this.#serve(stream, handler);
  }

  /** An application's mistake, or the loss of the link inside its handler, ends the stream, not the process. */
  async #serve(stream: MeshStream, handler: LinkStreamHandler): Promise<void> {
    try {
      await handler(stream, this.#link.id);
    } catch (error) {
      if (stream.failed) return;
      stream.reset();
      this.#listener.handlerFailed(this.#link.id, stream.protocol, error);
    }
  }

  #add(protocol: string, id: number): MeshStream {
    const stream = new MeshStream(this.#link.id, protocol, id, this.#link);
    this.#streams.set(id, stream);
    return stream;
  }

  #lose(id: number, message: string): void {
    this.#streams.get(id)?.fail(new StarlingError("peer-refused", message));
    this.#streams.delete(id);
  }
}
