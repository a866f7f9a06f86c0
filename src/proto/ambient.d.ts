/**
 * The only globals that protocol code may use beyond ECMAScript: both are pure functions of their argument
 * and exist in Node, browsers and workers.
 */
declare class TextEncoder {
  encode(text: string): Uint8Array;
}
declare class TextDecoder {
  constructor(label: "utf-8", options?: { fatal?: boolean });
  decode(bytes: Uint8Array): string;
}
