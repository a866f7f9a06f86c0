import { StarlingError } from "../errors.ts";
import type { NetcheckReport } from "../netcheck.ts";
import type { Mesh } from "../proto/mesh.ts";
import { type PeerId, parsePeerId } from "../proto/peer-id.ts";
import type { WhyReport } from "../why.ts";
import type { Connections } from "./connections.ts";
import { netcheck } from "./netcheck.ts";
import { Paths } from "./paths.ts";
import type { Preparation } from "./prepare.ts";
import { RelayFinder } from "./relay-finder.ts";
import { TURN_PROTOCOL } from "./relaying.ts";
import type { Servers } from "./servers.ts";
import type { Services } from "./services.ts";
import { relayCandidates } from "./status-view.ts";
import type { MeshStream } from "./stream.ts";
import { Accounts, WHY_PROTOCOL } from "./why.ts";

/** The parts of an agent that this one needs, once they exist. */
export interface NetworkHost {
  readonly mesh: Mesh;
  readonly servers: Servers;
  readonly connections: Connections;
  open(peer: PeerId, protocol: string, options: { readonly signal: AbortSignal }): Promise<MeshStream>;
}

/** All that an agent knows of the network about it: paths, relays, and what it tells people and other members of them. */
export class Network {
  readonly paths: Paths;
  readonly relays: RelayFinder;
  readonly #prepared: Preparation;
  readonly #host: NetworkHost;
  readonly #accounts: Accounts;

  constructor(prepared: Preparation, host: NetworkHost) {
    this.#prepared = prepared;
    this.#host = host;
    const open = (peer: PeerId, protocol: string, signal: AbortSignal): Promise<MeshStream> =>
      host.open(peer, protocol, { signal });
    this.paths = new Paths(prepared, {
      ask: (source) => {
        const relay = parsePeerId(source);
        if (relay === undefined) host.servers.askIce(source);
        else this.relays.refresh(relay);
      },
      renew: (peer, reason) => host.connections.renew(peer, reason),
    });
    this.relays = new RelayFinder({
      self: prepared.trust.id,
      members: () => relayCandidates(host.mesh),
      open,
      granted: (peer, grant) => this.paths.granted(peer, [grant], 0),
      unanswered: (peer, error) => prepared.log.debug("a relay does not answer", { peer, error }),
      withdrawn: (peer) => this.paths.withdrawn(peer),
    });
    this.#accounts = new Accounts({
      now: prepared.now,
      netcheck: () => this.netcheck(),
      trace: (peer) => this.paths.trace(peer),
      path: (peer) => host.connections.link(peer)?.status() ?? { path: "none", rtc: null },
      open,
    });
  }

  /** Offers what other members may ask of this one. */
  provide(services: Services): void {
    const { relaying } = this.#prepared;
    services.provide(WHY_PROTOCOL, (stream, from) => this.#accounts.serve(stream, from));
    if (relaying) services.provide(TURN_PROTOCOL, (stream, from) => relaying.serve(stream, from));
  }

  /** What stands between this machine and others. */
  netcheck(): Promise<NetcheckReport> {
    const { random, now, signaling } = this.#prepared;
    const skews = new Map(
      this.#host.servers.status().flatMap(({ url, skewMs }) => (skewMs === undefined ? [] : [[url, skewMs]])),
    );
    return netcheck({ iceServers: this.paths.servers, signaling, skews, random, now });
  }

  /** Why the path to a member is what it is. */
  async why(peer: PeerId, signal: AbortSignal | undefined): Promise<WhyReport> {
    if (this.#host.mesh.membership.member(peer) === undefined || peer === this.#prepared.trust.id)
      throw new StarlingError("not-found", `${peer} is no other member of the cluster`);
    return this.#accounts.why(peer, signal);
  }
}
