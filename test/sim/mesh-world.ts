import type { Instant } from "../../src/proto/machine.ts";
import { Mesh, type MeshInput, type MeshOutput } from "../../src/proto/mesh.ts";
import { randomBytes, SeededRandom } from "../../src/proto/random.ts";
import type { Observation, ViewEntry } from "./checkers.ts";
import type { MemberState } from "./member.ts";
import type { NodeContext, SimInput, SimNode, SimOutput } from "./node.ts";
import type { FakeSigner } from "./signer.ts";
import { EPOCH_MS, World } from "./world.ts";
import type { WorldOptions } from "./world-options.ts";

/** Tokens of a run outlive it. */
const TOKEN_LIVES_MS = 7 * 86_400_000;

/** What the agent does around a {@link Mesh}, as far as the world has it: a silent link is given up, isolation asks for help. */
export class MeshNode implements SimNode<MeshInput, MeshOutput> {
  readonly mesh: Mesh;

  constructor(context: NodeContext, signer: FakeSigner) {
    const { id, index, boot, random, now } = context;
    const place = randomBytes(new SeededRandom(index).fork("place"), 16);
    const facts = { subject: id, expiresAt: EPOCH_MS + TOKEN_LIVES_MS, scopes: ["kv:write:*"], place };
    const profile = {
      name: `node ${index}`,
      labels: [],
      protocols: { least: 1, most: 1 },
      exchangeKey: randomBytes(random.fork("exchange"), 32),
      capacity: 100,
    };
    this.mesh = new Mesh({ self: id, boot, profile, token: { token: signer.token(facts), facts }, random }, now);
  }

  handle(input: SimInput | MeshInput, now: Instant): readonly (SimOutput | MeshOutput)[] {
    // The world's inputs are the mesh's: what comes back with a check or a signature is what the mesh has sent along.
    const outputs: readonly (SimOutput | MeshOutput)[] = this.mesh.handle(input as MeshInput, now);
    if (!outputs.some(({ type }) => type === "link-silent" || type === "isolated")) return outputs;
    return outputs.map((output) => {
      if (output.type === "link-silent") return { type: "drop", peer: output.peer, reason: "silent" };
      return output.type === "isolated" ? { type: "introduce" } : output;
    });
  }

  deadline(): Instant | undefined {
    return this.mesh.deadline();
  }
}

/** A world of complete meshes, as the checkers want to see it. */
export class MeshWorld implements Observation {
  readonly world: World<MeshInput, MeshOutput>;
  /** What nodes told: faults by their name, member events by theirs, everything else by its type. */
  readonly told = new Map<string, number>();

  constructor(options: Pick<WorldOptions<MeshInput, MeshOutput>, "nodes" | "seed" | "network" | "clockSkewMs">) {
    this.world = new World<MeshInput, MeshOutput>({
      ...options,
      create: (context) => new MeshNode(context, this.world.signer),
      observe: (_, output) => {
        const name =
          output.type === "fault" ? `fault ${output.fault}` : output.type === "event" ? output.event : output.type;
        this.told.set(name, (this.told.get(name) ?? 0) + 1);
      },
    });
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
    return node instanceof MeshNode ? node.mesh : undefined;
  }

  *view(index: number): Generator<ViewEntry> {
    for (const { record, state } of this.mesh(index)?.membership.members() ?? []) {
      const member = this.world.indexOf(record.id);
      if (member !== undefined) yield { member, state, boot: record.boot, incarnation: record.incarnation };
    }
  }

  *replicas(index: number): Generator<readonly [string, string]> {
    for (const { name, digest } of this.mesh(index)?.replication.buckets() ?? []) yield [name, digest];
  }
}
