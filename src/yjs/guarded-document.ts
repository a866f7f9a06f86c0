import * as Y from "yjs";
import { MAX_PENDING_BYTES } from "./limits.ts";

/**
 * A document that takes updates of others only after they have been tried.
 *
 * Yjs applies an update in place, and one that was made to do harm may end half way, with an exception and a document that is neither the
 * old one nor the new one. So each update goes to a second document of the same content first. Where it fails, or
 * leaves too much waiting for what never comes, that one is made anew from the first, which has not seen it. The price is twice the
 * memory and time.
 */
export class GuardedDocument {
  readonly doc: Y.Doc;
  #trial = new Y.Doc();

  constructor(doc: Y.Doc) {
    this.doc = doc;
  }

  /** Takes note of an edit of the document's own. */
  edited(update: Uint8Array): void {
    Y.applyUpdate(this.#trial, update);
  }

  /** Applies an update of another; false, and nothing changed, when it is none or would do harm. */
  take(update: Uint8Array, origin: unknown): boolean {
    if (!this.#try(update)) {
      this.#trial.destroy();
      this.#trial = new Y.Doc();
      Y.applyUpdate(this.#trial, Y.encodeStateAsUpdate(this.doc));
      return false;
    }
    Y.applyUpdate(this.doc, update, origin);
    return true;
  }

  #try(update: Uint8Array): boolean {
    try {
      Y.decodeUpdate(update);
      Y.applyUpdate(this.#trial, update);
    } catch {
      return false;
    }
    const { pendingStructs, pendingDs } = this.#trial.store;
    return (pendingStructs?.update.length ?? 0) + (pendingDs?.length ?? 0) <= MAX_PENDING_BYTES;
  }

  /** What the document has beyond all that was taken and noted; undefined when that is nothing. */
  beyond(): Uint8Array | undefined {
    const update = Y.encodeStateAsUpdate(this.doc, Y.encodeStateVector(this.#trial));
    let isNews = false;
    const note = (): void => {
      isNews = true;
    };
    this.#trial.once("update", note);
    Y.applyUpdate(this.#trial, update);
    this.#trial.off("update", note);
    return isNews ? update : undefined;
  }

  destroy(): void {
    this.#trial.destroy();
  }
}
