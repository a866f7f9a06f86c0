import type { Instant } from "../../src/proto/machine.ts";
import type { MemberToken } from "../../src/proto/membership/effects.ts";
import type { Membership } from "../../src/proto/membership/membership.ts";
import { encodePayload } from "../../src/proto/membership/messages.ts";
import type { MemberProfile, MemberRecord, RecordShelf } from "../../src/proto/membership/record.ts";
import { Mesh, type MeshInput, type MeshOutput } from "../../src/proto/mesh.ts";
import { Company, type CompanyInput } from "../../src/proto/overlay/company.ts";
import type { PeerId } from "../../src/proto/peer-id.ts";
import { fraction, randomBytes, SeededRandom } from "../../src/proto/random.ts";
import type { TokenFacts } from "../../src/proto/signed.ts";
import { EPOCH_MS } from "./epoch.ts";
import type { NodeContext, SimInput, SimNode, SimOutput } from "./node.ts";
import { RowDisk } from "./row-disk.ts";
import type { FakeSigner } from "./signer.ts";

/** Records are kept for the next start six times as often as the agent keeps them: runs are short. */
const REMEMBER_MS = 10_000;
const MAX_REMEMBERED = 512;
/** Beyond any run. */
const TOKEN_LIFE_MS = 86_400_000;
const SCOPES = ["mesh:join", "kv:*", "topic:*"];
const MEMORY = "members";
const NEVER = Number.POSITIVE_INFINITY;
const TIMEOUT = { type: "timeout" } as const;

/** What a scenario asks of a node. */
export type MeshCommand = Extract<
  MeshInput,
  { readonly type: "put" | "delete" | "publish" | "leave" | "token" | "update" }
>;

/** What a node tells that is not for the world. */
export type MeshEvent = Exclude<
  MeshOutput,
  {
    readonly type:
      | ("send" | "dial" | "ask" | "drop" | "present" | "sign" | "verify")
      | ("store" | "link-silent" | "isolated");
  }
>;

export interface MeshNodeOptions {
  readonly signer: FakeSigner;
  /** What the nodes of a world share: a record is decoded once and not once by everybody. */
  readonly shelf?: RecordShelf;
  /** Whose list a first start begins with; without it everybody begins alone. */
  readonly like?: Membership;
  /** Outputs for which it holds are not carried out: a mesh that is broken on purpose. */
  readonly broken?: (output: MeshOutput) => boolean;
  /** False: a build that does not watch its own health. Default true. */
  readonly localHealth?: boolean;
}

/**
 * The mesh as an agent runs it, in the world: {@link Mesh} and {@link Company} themselves, and around them what the agent does for it without a
 * machine of its own. It gives up links that have fallen silent, and remembers members for the next start.
 */
export class MeshNode implements SimNode<MeshCommand, MeshEvent> {
  readonly mesh: Mesh;
  readonly #self: PeerId;
  readonly #disk: Map<string, unknown>;
  /** The members of an earlier life. */
  readonly #earlier: readonly MemberRecord[];
  /** As of when members were last remembered. */
  #remembered = -1;
  readonly #store: RowDisk;
  readonly #broken: ((output: MeshOutput) => boolean) | undefined;
  readonly #company: Company;
  #rememberAt: Instant;
  /** Links of this node that died of a full queue. */
  overflows = 0;
  /** Links that this side has given up: their end is no farewell. */
  readonly #silent = new Set<PeerId>();

  constructor(context: NodeContext, options: MeshNodeOptions) {
    const { id, index, boot, random, now, disk } = context;
    const { signer, shelf, like, broken, localHealth = true } = options;
    this.#self = id;
    this.#disk = disk;
    this.#earlier = (disk.get(MEMORY) ?? []) as readonly MemberRecord[];
    this.#store = new RowDisk(disk);
    this.#broken = broken;
    this.mesh = new Mesh(
      {
        self: id,
        boot,
        profile: profileOf(id, index, boot),
        token: tokenOf(id, signer),
        random,
        localHealth,
        restoration: this.#store.restore(),
        ...(shelf && { shelf }),
        ...(like && boot === 1 && { like }),
      },
      now,
    );
    this.#company = new Company(this.mesh.links, now);
    this.#rememberAt = now + REMEMBER_MS * fraction(random.fork("chores"));
  }

  handle(input: SimInput | MeshCommand, now: Instant): readonly (SimOutput | MeshEvent)[] {
    switch (input.type) {
      case "timeout":
        return this.#timeout(now);
      case "link-up":
        this.#company.handle(input, now);
        this.#silent.delete(input.peer);
        return this.#carry(this.mesh.handle(input, now), now);
      case "link-down": {
        if (input.reason === "overflow") this.overflows++;
        const deliberate = input.deliberate && !this.#silent.delete(input.peer);
        return this.#carry(this.mesh.handle({ type: "link-down", peer: input.peer, deliberate }, now), now);
      }
      default:
        // What comes back with a check or a signature is what the mesh has sent along with it.
        return this.#carry(this.mesh.handle(input as MeshInput, now), now);
    }
  }

  deadline(): Instant | undefined {
    const chore = this.#choreAt();
    return Math.min(this.mesh.deadline() ?? chore, chore);
  }

  /** When anything but the mesh wants a time-out. */
  #choreAt(): Instant {
    return Math.min(this.#rememberAt, this.#company.deadline() ?? NEVER, this.#store.deadline() ?? NEVER);
  }

  #timeout(now: Instant): readonly (SimOutput | MeshEvent)[] {
    const sequence = this.#store.take(now);
    if (sequence !== undefined) return this.#carry(this.mesh.handle({ type: "stored", sequence }, now), now);
    if (this.#choreAt() > now) return this.#carry(this.mesh.handle(TIMEOUT, now), now);
    const outputs: (SimOutput | MeshEvent)[] = [];
    if ((this.mesh.deadline() ?? now + 1) <= now) outputs.push(...this.#carry(this.mesh.handle(TIMEOUT, now), now));
    outputs.push(...this.#keepCompany(TIMEOUT, now));
    if (now >= this.#rememberAt) {
      this.#remember();
      this.#rememberAt = now + REMEMBER_MS;
    }
    return outputs;
  }

  #keepCompany(input: CompanyInput, now: Instant): (SimOutput | MeshEvent)[] {
    return this.#company
      .handle(input, now)
      .flatMap((output) => (output.type === "recall" ? this.#recall(now) : output));
  }

  #recall(now: Instant): readonly (SimOutput | MeshEvent)[] {
    const records = this.#earlier.map((record) => encodePayload("record", record));
    return this.#carry(this.mesh.handle({ type: "introduced", standing: "remembered", records }, now), now);
  }

  #remember(): void {
    const { membership } = this.mesh;
    if (membership.rings.version === this.#remembered) return;
    this.#remembered = membership.rings.version;
    const records: MemberRecord[] = [];
    for (const { record, state } of membership.members()) {
      if (records.length === MAX_REMEMBERED) break;
      if (record.id !== this.#self && state !== "left") records.push(record);
    }
    this.#disk.set(MEMORY, records);
  }

  /** The mesh's outputs as the world takes them. Most lists pass as they are. */
  #carry(outputs: readonly MeshOutput[], now: Instant): readonly (SimOutput | MeshEvent)[] {
    for (const { type } of outputs) {
      if (type === "store" || type === "link-silent" || type === "isolated" || this.#broken !== undefined)
        return this.#translate(outputs, now);
    }
    return outputs as readonly (SimOutput | MeshEvent)[];
  }

  #translate(outputs: readonly MeshOutput[], now: Instant): readonly (SimOutput | MeshEvent)[] {
    const carried: (SimOutput | MeshEvent)[] = [];
    for (const output of outputs) {
      if (this.#broken?.(output)) continue;
      if (output.type === "store") this.#store.store(output.sequence, output.rows, now);
      else if (output.type === "link-silent") {
        this.#silent.add(output.peer);
        carried.push({ type: "drop", peer: output.peer, reason: "silent" });
      } else if (output.type === "isolated") carried.push(...this.#keepCompany(output, now));
      else carried.push(output);
    }
    return carried;
  }
}

/** What a node says of itself. */
export function profileOf(id: PeerId, index: number, boot: number): MemberProfile {
  return {
    name: `node-${index}`,
    labels: [],
    protocols: { least: 1, most: 1 },
    exchangeKey: randomBytes(new SeededRandom(boot).fork(id), 32),
    capacity: 100,
  };
}

/** The token of a node, the same in all its lives. */
export function tokenOf(id: PeerId, signer: FakeSigner): MemberToken {
  const facts: TokenFacts = {
    subject: id,
    expiresAt: EPOCH_MS + TOKEN_LIFE_MS,
    scopes: SCOPES,
    place: placeOf(id),
  };
  return { token: signer.token(facts), facts };
}

/** A member's place: the same in all its lives. */
function placeOf(id: PeerId): Uint8Array {
  return randomBytes(new SeededRandom(0).fork(id), 16);
}
