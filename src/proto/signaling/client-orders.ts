import { assert } from "../assert.ts";
import type { SignalingInput, SignalingOutput } from "./client-events.ts";
import { signalingLimits } from "./limits.ts";
import type { ClientMessage } from "./messages.ts";

/** What an agent asks of a server that it is logged in to. */
export type Order = Extract<
  SignalingInput,
  { type: "present" | "desk" | "answer" | "signal" | "introduce" | "ice" | "renew" | "compare" | "decrees" }
>;

type Said = Exclude<ClientMessage, { type: "foreign-hello" }>;

/** An agent's orders to one server: as messages, as what comes back while it is not logged in, and those that stand for every login. */
export class Orders {
  #record: Uint8Array | undefined;
  #desk: Uint8Array | undefined;

  /** What is said again after each login. */
  standing(): readonly Said[] {
    const said: Said[] = [];
    if (this.#record !== undefined) said.push({ type: "present", record: this.#record });
    if (this.#desk !== undefined) said.push({ type: "desk", desk: this.#desk });
    return said;
  }

  /** Takes an order, and returns the message that carries it. */
  take(order: Order): Said {
    switch (order.type) {
      case "present": {
        const { record } = order;
        assert(record.length > 0 && record.length <= signalingLimits.recordBytes, "a record fits its message");
        this.#record = record;
        return { type: "present", record };
      }
      case "desk":
        this.#desk = order.desk;
        return { type: "desk", desk: order.desk };
      case "answer":
        return { type: "answer", id: order.id, bytes: order.bytes };
      case "signal": {
        const { to, bytes, id } = order;
        assert(bytes.length <= signalingLimits.signalBytes, "a signal fits its message");
        return { type: "signal", to, bytes, id };
      }
      case "compare":
        return { type: "compare", sums: order.sums };
      case "decrees":
        return { type: "decrees", decrees: order.decrees };
      case "introduce":
        return { type: "introduce", count: order.count };
      case "ice":
        return { type: "ice" };
      case "renew":
        return { type: "renew", token: order.token };
    }
  }
}

/** What an order comes to while there is no session; undefined where nobody waits for an answer. */
export function refuseOrder(order: Order): SignalingOutput | undefined {
  if (order.type === "signal") return { type: "undelivered", to: order.to, id: order.id, reason: "offline" };
  if (order.type === "renew") return { type: "unrenewed", code: "unavailable", detail: "not connected to the server" };
  return undefined;
}
