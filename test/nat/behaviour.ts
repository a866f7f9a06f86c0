/**
 * What a NAT does to UDP, in the words of RFC 4787, and what follows from it for two agents: the oracle of the lab.
 *
 * Both sides tell each other the address that a STUN server saw them come from, then send to the other's. A first packet gets
 * through a side's filter if that side lets in everybody; or if it has itself sent from the address that the packet is for, to
 * the address (or address and port) that the packet comes from. With endpoint-independent mapping what the STUN server saw
 * is also what the peer sees; otherwise it is not, and both what the side sends from and what it may be reached at are unknown
 * to the other. Once one packet is through, its receiver answers to where it came from, and that way is open: one
 * direction is enough.
 */

type Dependence = "endpoint-independent" | "address-dependent" | "address-and-port-dependent";

export interface Behaviour {
  /** RFC 4787, section 4.1. */
  readonly mapping: Dependence;
  /** RFC 4787, section 5. */
  readonly filtering: Dependence;
  /** Whether UDP passes at all. */
  readonly udp: boolean;
  /** Whether a peer's packet that comes before the host's own makes the NAT map that peer to another port. */
  readonly breaksWhenEarly: boolean;
}

/** `either`: direct if the right side's packet happens to come first. */
export type Expectation = "direct" | "relayed" | "either";

/** Whether two agents behind NATs of these behaviours must find a direct path. */
export function expectedPath(one: Behaviour, other: Behaviour): Expectation {
  if (!one.udp || !other.udp) return "relayed";
  if (!meets(one, other)) return "relayed";
  return meets(broken(one), broken(other)) ? "direct" : "either";
}

/** The behaviour towards a peer whose packet came early. */
function broken(side: Behaviour): Behaviour {
  return side.breaksWhenEarly ? { ...side, mapping: "address-and-port-dependent" } : side;
}

function meets(one: Behaviour, other: Behaviour): boolean {
  return admits(one, other) || admits(other, one);
}

function admits(receiver: Behaviour, sender: Behaviour): boolean {
  if (receiver.filtering === "endpoint-independent") return true;
  // The hole that the receiver makes is at the address that the sender aims at, or it is of no use.
  if (receiver.mapping !== "endpoint-independent") return false;
  return receiver.filtering === "address-dependent" || sender.mapping === "endpoint-independent";
}
