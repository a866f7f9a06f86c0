import { below, type Random } from "../../../src/proto/random.ts";
import type { Node, World } from "./world.ts";

/** What may go wrong in a history beside crashes and cut links. */
export interface MisfortuneOptions {
  /** One in so many strikes is a given misfortune. */
  readonly outOf: number;
  /** Clocks are off by up to 20 s, and jump. */
  readonly clocks?: boolean;
  /** The others give a member up, or take it back. */
  readonly churn?: boolean;
}

/** What goes wrong in a history, one at a time, and its end. */
export class Misfortunes {
  readonly #world: World;
  readonly #random: Random;
  readonly #options: MisfortuneOptions;

  /** From here on broadcasts may be lost, as one history in three has it. */
  constructor(world: World, random: Random, options: MisfortuneOptions) {
    this.#world = world;
    this.#random = random;
    this.#options = options;
    world.loss = below(random, 3) === 0 ? 0.3 : 0;
  }

  /** Any of the nodes. */
  node(): Node {
    return this.#world.node(below(this.#random, this.#world.nodes.length));
  }

  /** Something happens to one of them, or nothing. */
  strike(): void {
    const world = this.#world;
    const { outOf, clocks = false, churn = false } = this.#options;
    const node = this.node();
    switch (below(this.#random, outOf)) {
      case 0:
        if (node.isUp) world.crash(node);
        return;
      case 1:
      case 2:
        if (!node.isUp) world.restart(node);
        return;
      case 3: {
        const other = this.node();
        if (other !== node) world.unlink(node, other);
        return;
      }
      case 4:
      case 5:
        this.#link();
        return;
      case 6:
        if (clocks) node.skewMs = below(this.#random, 40_000) - 20_000;
        return;
      case 7:
        if (churn) world.declare(node, !node.isUp);
        return;
      default:
        return;
    }
  }

  /** Everybody is up, linked with everybody, and on time. */
  end(): void {
    const world = this.#world;
    for (const node of world.nodes) {
      node.skewMs = 0;
      if (!node.isUp) world.restart(node);
    }
    if (this.#options.churn) for (const node of world.nodes) world.declare(node, false);
    this.#link();
    world.loss = 0;
  }

  #link(): void {
    const up = this.#world.nodes.filter(({ isUp }) => isUp);
    for (const a of up) for (const b of up) if (a.id < b.id) this.#world.link(a, b);
  }
}
