/** SHA-256 and HMAC for protocol code: synchronous, portable and pure, so that digests need no driver. */
export { hmac } from "@noble/hashes/hmac.js";
export { sha256 } from "@noble/hashes/sha2.js";
