/**
 * Base64 (RFC 4648, sections 4 and 5), strictly canonical: one text for each byte string, so that a token, a key or an
 * invite cannot be written in two ways.
 */

const STANDARD = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** Padded base64. */
export function base64(bytes: Uint8Array): string {
  const text = write(bytes, STANDARD);
  return text + "=".repeat((4 - (text.length % 4)) % 4);
}

/** The bytes of canonical padded base64; undefined for anything else. */
export function fromBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0) return undefined;
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  return read(text, text.length - padding, STANDARD_VALUES);
}

/** Base64 for URLs, without padding. */
export function base64url(bytes: Uint8Array): string {
  return write(bytes, URL_SAFE);
}

/** The bytes of canonical base64url without padding; undefined for anything else. */
export function fromBase64url(text: string): Uint8Array | undefined {
  return read(text, text.length, URL_SAFE_VALUES);
}

function write(bytes: Uint8Array, alphabet: string): string {
  let text = "";
  let bits = 0;
  let buffer = 0;
  for (const byte of bytes) {
    buffer = ((buffer << 8) | byte) & 0x3fff;
    bits += 8;
    while (bits >= 6) {
      bits -= 6;
      text += alphabet.charAt((buffer >> bits) & 63);
    }
  }
  return bits > 0 ? text + alphabet.charAt((buffer << (6 - bits)) & 63) : text;
}

// The first `length` characters; a lone last character or non-zero spare bits are refused.
function read(text: string, length: number, values: Int8Array): Uint8Array | undefined {
  if (length % 4 === 1) return undefined;
  const bytes = new Uint8Array(Math.floor((length * 3) / 4));
  let bits = 0;
  let buffer = 0;
  let offset = 0;
  for (let index = 0; index < length; index++) {
    const code = text.charCodeAt(index);
    const value = code < 128 ? (values[code] as number) : -1;
    if (value < 0) return undefined;
    buffer = ((buffer << 6) | value) & 0x3fff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[offset++] = (buffer >> bits) & 0xff;
    }
  }
  return (buffer & ((1 << bits) - 1)) === 0 ? bytes : undefined;
}

function valuesOf(alphabet: string): Int8Array {
  const values = new Int8Array(128).fill(-1);
  for (let index = 0; index < alphabet.length; index++) values[alphabet.charCodeAt(index)] = index;
  return values;
}

const STANDARD_VALUES = valuesOf(STANDARD);
const URL_SAFE_VALUES = valuesOf(URL_SAFE);
