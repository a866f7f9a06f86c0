import type { PeerId } from "../proto/peer-id.ts";
import type { MemberState } from "../status.ts";

/** A member as applications see it. */
export interface MemberInfo {
  readonly id: PeerId;
  readonly name: string;
  readonly state: MemberState;
  readonly labels: Readonly<Record<string, string>>;
}

/** `memberup`, `membersuspect`, `memberdown`, `memberleft`, `memberupdate`: what a member has become. */
export class MemberChangeEvent extends Event {
  readonly member: MemberInfo;
  readonly previous: MemberState | undefined;

  constructor(type: MemberEventName, member: MemberInfo, previous: MemberState | undefined) {
    super(type);
    this.member = member;
    this.previous = previous;
  }
}

/** `linkup`, `linkdown`: an authenticated channel to a peer stands, or is gone. */
export class LinkChangeEvent extends Event {
  readonly peer: PeerId;
  /** Of `linkdown`: why, for logs. */
  readonly reason: string | undefined;

  constructor(type: LinkEventName, peer: PeerId, reason?: string) {
    super(type);
    this.peer = peer;
    this.reason = reason;
  }
}

/** `tokenexpiring`: a quarter of the life of this agent's token is left, and nobody has renewed it. Once for each token. */
export class TokenExpiringEvent extends Event {
  readonly expiresAt: Date;
  /** What the matter is and what to do, for people. */
  readonly warning: string;

  constructor(expiresAt: Date, warning: string) {
    super("tokenexpiring");
    this.expiresAt = expiresAt;
    this.warning = warning;
  }
}

/**
 * `issuingkeyexpiring`: in a month at most an issuing key ends, that of this agent's own issuer or the last one that counts in the cluster. Once for
 * each key and start.
 */
export class IssuingKeyExpiringEvent extends Event {
  /** The key's name. */
  readonly kid: string;
  readonly expiresAt: Date;
  /** What the matter is and what to do, for people. */
  readonly warning: string;

  constructor(kid: string, expiresAt: Date, warning: string) {
    super("issuingkeyexpiring");
    this.kid = kid;
    this.expiresAt = expiresAt;
    this.warning = warning;
  }
}

/** `reseeded`: the agent was away for longer than deletions are remembered, and has taken over what a member in service has. */
export class ReseededEvent extends Event {
  /** Since when it had not been in step with anybody. */
  readonly awaySince: Date;
  /** Values that were here and that nobody has any more: somebody has deleted them meanwhile, or they were never spread. */
  readonly removed: number;
  /** How many of them were written while it was away: they are kept apart, see `setAside()`. */
  readonly setAside: number;

  constructor({ awaySince, removed, setAside }: { awaySince: number; removed: number; setAside: number }) {
    super("reseeded");
    this.awaySince = new Date(awaySince);
    this.removed = removed;
    this.setAside = setAside;
  }
}

export type MemberEventName = "memberup" | "membersuspect" | "memberdown" | "memberleft" | "memberupdate";
export type LinkEventName = "linkup" | "linkdown";

/** The events of an agent by name. */
export interface AgentEventMap
  extends Record<MemberEventName, MemberChangeEvent>,
    Record<LinkEventName, LinkChangeEvent> {
  readonly tokenexpiring: TokenExpiringEvent;
  readonly issuingkeyexpiring: IssuingKeyExpiringEvent;
  readonly reseeded: ReseededEvent;
}

/** An `EventTarget` that knows the agent's events and their types. */
export class AgentEventTarget extends EventTarget {
  override addEventListener<Name extends keyof AgentEventMap>(
    type: Name,
    listener: (event: AgentEventMap[Name]) => void,
    options?: AddEventListenerOptions | boolean,
  ): void;
  override addEventListener(type: string, listener: Listener, options?: AddEventListenerOptions | boolean): void;
  override addEventListener(type: string, listener: Listener, options?: AddEventListenerOptions | boolean): void {
    super.addEventListener(type, listener, options);
  }

  override removeEventListener<Name extends keyof AgentEventMap>(
    type: Name,
    listener: (event: AgentEventMap[Name]) => void,
    options?: AddEventListenerOptions | boolean,
  ): void;
  override removeEventListener(type: string, listener: Listener, options?: AddEventListenerOptions | boolean): void;
  override removeEventListener(type: string, listener: Listener, options?: AddEventListenerOptions | boolean): void {
    super.removeEventListener(type, listener, options);
  }
}

type Listener = EventListener | EventListenerObject;
