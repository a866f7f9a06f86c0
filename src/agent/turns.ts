/**
 * Does things in their order, one in a turn of the event loop: what becomes due together must not hold the loop up together.
 * The first of a turn is done at once.
 */
export class Turns<Item> {
  readonly #waiting: Item[] = [];
  readonly #do: (item: Item) => void;
  #isTaken = false;

  constructor(perform: (item: Item) => void) {
    this.#do = perform;
  }

  add(item: Item): void {
    this.#waiting.push(item);
    if (!this.#isTaken) this.#next();
  }

  #next(): void {
    const item = this.#waiting.shift();
    this.#isTaken = item !== undefined;
    if (item === undefined) return;
    setImmediate(() => this.#next());
    this.#do(item);
  }
}
