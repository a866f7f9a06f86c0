/**
 * The first byte of every frame on a link says what the rest is. Kinds below {@link FIRST_LINK_FRAME} belong to admission
 * (`session/admission.ts`) and pass before a peer is known; the others belong to the link and pass only after it.
 */
export const FrameKind = {
  /** Who we say we are: versions, PeerId, nonce, token, box key, key epoch. The first frame of each side. */
  hello: 0x01,
  /** Signature and MAC over both hellos and both certificates. The second frame of each side. */
  proof: 0x02,
  /** The end, with one byte that says why; may also reach a link that has just been admitted. */
  refusal: 0x03,
  /** The sender has checked our proof and accepts link frames. The third frame of each side. */
  ready: 0x04,
} as const;

export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/** This kind and all above it belong to the link. */
export const FIRST_LINK_FRAME = 0x10;
