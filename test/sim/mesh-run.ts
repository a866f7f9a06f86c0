import type { Membership } from "../../src/proto/membership/membership.ts";
import { RecordShelf } from "../../src/proto/membership/record.ts";
import type { Mesh, MeshOutput } from "../../src/proto/mesh.ts";
import { wantedLinks } from "../../src/proto/overlay/neighbours.ts";
import type { RingSeat } from "../../src/proto/overlay/seat.ts";
import { overlayLimits } from "../../src/proto/overlay/timing.ts";
import type { Level, Observation, ViewEntry } from "./checkers.ts";
import { founder } from "./founder.ts";
import { HostileNode, type Malice, type Plot } from "./hostile-node.ts";
import type { MemberState } from "./member.ts";
import { type MeshCommand, type MeshEvent, MeshNode } from "./mesh-node.ts";
import { World } from "./world.ts";
import type { WorldOptions } from "./world-options.ts";
import { WriteJournal } from "./write-journal.ts";

/** Links that an honest node may have at once: its neighbours in four rings, guests, and tries under way. */
const MOST_LINKS = 8 + overlayLimits.guests + overlayLimits.tries;

export interface MeshRunOptions extends Omit<WorldOptions<MeshCommand, MeshEvent>, "create" | "observe"> {
  /** Outputs that no node carries out: a build that is broken on purpose. */
  readonly broken?: (output: MeshOutput) => boolean;
  /** False: a build that does not watch its own health. Default true. */
  readonly localHealth?: boolean;
  /** Who is hostile, and how; they act when `plot` has begun. Nobody by default. */
  readonly cast?: { readonly plot: Plot; maliceOf(index: number): Malice | undefined };
  /** Sees what nodes tell their applications: member events and posts. */
  readonly witness?: (index: number, event: MeshEvent) => void;
}

/** A world of whole meshes, and what its checkers look at. */
export class MeshRun implements Observation {
  readonly world: World<MeshCommand, MeshEvent>;
  readonly journal = new WriteJournal();
  /** Who blamed whom for what. Nobody here misbehaves, so nobody may be blamed. */
  readonly blames: string[] = [];
  /** Member events and faults by name. */
  readonly events = new Map<string, number>();
  readonly faults = new Map<string, number>();
  readonly #witness: MeshRunOptions["witness"];

  readonly #shelf = new RecordShelf();
  /** Whose list everybody begins with. */
  #founder: Membership | undefined;

  constructor(options: MeshRunOptions) {
    const { broken, localHealth = true, cast, witness, ...worldOptions } = options;
    this.#witness = witness;
    this.world = new World<MeshCommand, MeshEvent>({
      ...worldOptions,
      create: (context) => {
        const node = {
          signer: this.world.signer,
          localHealth,
          shelf: this.#shelf,
          ...(this.#founder && { like: this.#founder }),
          ...(broken !== undefined && { broken }),
        };
        const malice = cast?.maliceOf(context.index);
        if (cast === undefined || malice === undefined) return new MeshNode(context, node);
        return new HostileNode(context, node, malice, cast.plot);
      },
      observe: (index, event) => this.#observe(index, event),
    });
  }

  /** Starts everybody as members of a mesh that has long been one: with full lists and all links. */
  startAsOne(): void {
    const { world } = this;
    const members = Array.from({ length: world.size }, (_, index) => ({ index, id: world.idOf(index) }));
    this.#founder = founder(members, world.signer, this.#shelf);
    for (const { index } of members) world.start(index);
    const { rings } = this.#founder;
    for (const { index, id } of members) {
      for (const peer of wantedLinks(rings, rings.seat(id) as RingSeat)) {
        const other = world.indexOf(peer) as number;
        if (other > index) world.connect(index, other);
      }
    }
  }

  get size(): number {
    return this.world.size;
  }

  get now(): number {
    return this.world.now;
  }

  stateOf(index: number): MemberState {
    return this.world.stateOf(index);
  }

  bootOf(index: number): number {
    return this.world.bootOf(index);
  }

  /** The mesh that runs at `index`; undefined while none does. */
  mesh(index: number): Mesh | undefined {
    const node = this.world.node(index);
    return node instanceof MeshNode || node instanceof HostileNode ? node.mesh : undefined;
  }

  *view(index: number): Generator<ViewEntry> {
    for (const { record, state } of this.mesh(index)?.membership.members() ?? []) {
      const { boot, incarnation } = record;
      yield { member: this.world.indexOf(record.id) ?? -1, state, boot, incarnation };
    }
  }

  *replicas(index: number): Generator<readonly [string, string]> {
    for (const { name, digest } of this.mesh(index)?.replication.buckets() ?? []) yield [name, digest];
  }

  *levels(index: number): Generator<Level> {
    const node = this.world.node(index);
    if (!(node instanceof MeshNode)) return;
    const { membership, links } = node.mesh;
    const { alive, suspect, down, left } = membership.statistics().members;
    yield { name: "members", size: alive + suspect + down + left, limit: this.size };
    yield { name: "links", size: links.size, limit: MOST_LINKS };
    yield { name: "links with a full queue", size: node.overflows, limit: 0 };
  }

  #observe(index: number, event: MeshEvent): void {
    this.#witness?.(index, event);
    switch (event.type) {
      case "event":
        this.events.set(event.event, (this.events.get(event.event) ?? 0) + 1);
        break;
      case "fault":
        this.faults.set(event.fault, (this.faults.get(event.fault) ?? 0) + 1);
        if (event.peer !== undefined) {
          this.blames.push(`node ${index} blames node ${this.world.indexOf(event.peer)}: ${event.fault}`);
        }
        break;
      case "changed":
        this.journal.changed(index, event);
        break;
      case "acknowledged":
        this.journal.acknowledged(event.version);
        break;
      default:
        break;
    }
  }
}
