import type { PeerId } from "../proto/peer-id.ts";
import { type KeyEnd, keyEndOf } from "../proto/trust/key-end.ts";
import { Administration } from "./administration.ts";
import { IssuingKeyExpiringEvent, type MemberInfo } from "./events.ts";
import { Governance, type GovernanceListener } from "./governance.ts";
import { KEYS_PROTOCOL, serveKeys, takeCensus } from "./key-census.ts";
import { KeyNotice } from "./key-notice.ts";
import type { Preparation } from "./prepare.ts";
import { Rotations } from "./rotations.ts";
import type { Services } from "./services.ts";
import type { MeshStream } from "./stream.ts";

/** All that an agent does about what the cluster decrees: it keeps to it, says it, and replaces the keys that say it. */
export interface Government {
  readonly governance: Governance;
  readonly administration: Administration;
  readonly rotations: Rotations;
  /** Of the end of issuing keys. */
  readonly notice: KeyNotice;
  /** The issuing key whose end matters here. */
  keyEnd(): KeyEnd | undefined;
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
  const begin = (): void => {
    rotations.begin();
    notice.begin();
  };
  return { governance, administration, rotations, notice, keyEnd, begin };
}
