import type { PeerId } from "../proto/peer-id.ts";
import { Administration } from "./administration.ts";
import type { MemberInfo } from "./events.ts";
import { Governance, type GovernanceListener } from "./governance.ts";
import { KEYS_PROTOCOL, serveKeys, takeCensus } from "./key-census.ts";
import type { Preparation } from "./prepare.ts";
import { Rotations } from "./rotations.ts";
import type { Services } from "./services.ts";
import type { MeshStream } from "./stream.ts";

/** All that an agent does about what the cluster decrees: it keeps to it, says it, and replaces the keys that say it. */
export interface Government {
  readonly governance: Governance;
  readonly administration: Administration;
  readonly rotations: Rotations;
}

/** What the government of an agent needs of it. */
export interface Governed extends GovernanceListener {
  members(): readonly MemberInfo[];
  open(peer: PeerId, protocol: string, options: { readonly signal: AbortSignal }): Promise<MeshStream>;
  /** A timer that ends with the agent. */
  later(ms: number, run: () => void): void;
}

/** Puts the government of an agent together. */
export function govern(prepared: Preparation, services: Services, agent: Governed): Government {
  const governance = new Governance({ ...prepared, listener: agent });
  services.provide(KEYS_PROTOCOL, (stream) => serveKeys(stream, prepared.trust));
  const others = () =>
    takeCensus(agent.members(), prepared.trust.id, (peer, signal) => agent.open(peer, KEYS_PROTOCOL, { signal }));
  const administration = new Administration({ ...prepared, governance, census: others });
  const census = () => administration.keys();
  const later = (ms: number, run: () => void): void => agent.later(ms, run);
  return { governance, administration, rotations: new Rotations({ ...prepared, governance, census, later }) };
}
