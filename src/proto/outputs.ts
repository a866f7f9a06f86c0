import { NOTHING } from "./machine.ts";

/**
 * What one input causes, in order, while it is gathered. Most inputs cause nothing or one thing, so there is no list before the
 * first, and then one that fits it: a list that is begun empty and pushed to takes room for seventeen.
 */
export class Outputs<Output> {
  #list: Output[] | undefined;

  push(output: Output): void {
    if (this.#list === undefined) this.#list = [output];
    else this.#list.push(output);
  }

  /** Hands over what has gathered. */
  take(): readonly Output[] {
    const list = this.#list;
    this.#list = undefined;
    return list ?? NOTHING;
  }
}
