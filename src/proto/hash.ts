/** SHA-256, HMAC and HKDF for protocol code: synchronous, portable and pure, so that digests need no driver. */
export { hkdf } from "@noble/hashes/hkdf.js";
export { hmac } from "@noble/hashes/hmac.js";
export { sha256 } from "@noble/hashes/sha2.js";
