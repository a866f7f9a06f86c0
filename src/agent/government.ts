import { join } from "node:path";
import { KeyNotice } from "../host/key-notice.ts";
import { AUDIT_PROTOCOL } from "../proto/audit/copy-messages.ts";
import type { PeerId } from "../proto/peer-id.ts";
import { type KeyEnd, keyEndOf } from "../proto/trust/key-end.ts";
import { mayDo } from "../proto/trust/rights.ts";
import { Administration } from "./administration.ts";
import { AuditCopying } from "./audit-copying.ts";
import { AUDIT_COPIES_FOLDER, AUDIT_LABEL, AuditKeeper } from "./audit-keeper.ts";
import { IssuingKeyExpiringEvent, type MemberInfo } from "./events.ts";
import { Governance, type GovernanceListener } from "./governance.ts";
import { KEYS_PROTOCOL, serveKeys, takeCensus } from "./key-census.ts";
import type { Preparation } from "./prepare.ts";
import { Rotations } from "./rotations.ts";
import type { Services } from "./services.ts";
import type { MeshStream } from "./stream.ts";

/**
 * All that an agent does about what the cluster decrees: it keeps to it, says it, replaces the keys that say it, and has the record of what
 * was done kept elsewhere.
 */
export interface Government {
  readonly governance: Governance;
  readonly administration: Administration;
  readonly rotations: Rotations;
  /** Of the end of issuing keys. */
  readonly notice: KeyNotice;
  /** The issuing key whose end matters here. */
  keyEnd(): KeyEnd | undefined;
  /** Our audit log at other members, and theirs here. */
  readonly copying: AuditCopying;
  readonly keeper: AuditKeeper | undefined;
  /** The agent takes part: what has to be seen to again and again is. */
  begin(): void;
}

/** What the government of an agent needs of it. */
export interface Governed extends GovernanceListener {
  members(): readonly MemberInfo[];
  open(peer: PeerId, protocol: string, options: { readonly signal: AbortSignal }): Promise<MeshStream>;
  /** A timer that ends with the agent. */
  later(ms: number, run: () => void): void;
  readonly face: Pick<EventTarget, "dispatchEvent">;
}

/** Puts the government of an agent together. */
export function govern(prepared: Preparation, services: Services, agent: Governed): Government {
  const { trust, issuing, now, log } = prepared;
  const later = (ms: number, run: () => void): void => agent.later(ms, run);
  const keyEnd = () => keyEndOf(trust.issuers, (token) => trust.decrees.voids(token), issuing?.issuer.kid);
  const tell = ({ kid, endsAt }: KeyEnd, warning: string): void => {
    agent.face.dispatchEvent(new IssuingKeyExpiringEvent(kid, new Date(endsAt), warning));
  };
  const notice = new KeyNotice({ end: keyEnd, now, later, log, tell });
  const inForce: Governed["inForce"] = (decree) => {
    agent.inForce(decree);
    notice.look();
  };
  const governance = new Governance({ ...prepared, listener: { ...agent, inForce } });
  services.provide(KEYS_PROTOCOL, (stream) => serveKeys(stream, trust));
  const others = () =>
    takeCensus(agent.members(), trust.id, (peer, signal) => agent.open(peer, KEYS_PROTOCOL, { signal }));
  const administration = new Administration({ ...prepared, governance, census: others });
  const census = () => administration.keys();
  const rotations = new Rotations({ ...prepared, governance, census, later });
  const { copying, keeper } = auditing(prepared, services, agent);
  const begin = (): void => {
    rotations.begin();
    notice.begin();
    copying.begin();
  };
  return { governance, administration, rotations, notice, keyEnd, copying, keeper, begin };
}

function auditing(prepared: Preparation, services: Services, agent: Governed) {
  const { trust, state, audit, auditCopies: copies, keepAudit, log, now } = prepared;
  const folder = join(state.path, AUDIT_COPIES_FOLDER);
  const keeper = keepAudit ? new AuditKeeper({ folder, crypto: trust.crypto, audit, log, now }) : undefined;
  if (keeper !== undefined) services.provide(AUDIT_PROTOCOL, (stream, from) => keeper.serve(stream, from));
  const isKeeper = ({ id, state, labels }: MemberInfo): boolean =>
    id !== trust.id && state === "alive" && AUDIT_LABEL in labels && mayDo(services.scopesOf(id), "keep-audit");
  const copying = new AuditCopying({
    copies,
    self: trust.id,
    audit,
    keepers: () =>
      agent
        .members()
        .filter(isKeeper)
        .map(({ id }) => id),
    open: (peer, protocol, options) => agent.open(peer, protocol, options),
    later: (ms, run) => agent.later(ms, run),
    now,
    log,
  });
  return { copying, keeper };
}
