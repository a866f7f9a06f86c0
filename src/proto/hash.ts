/** SHA-256, HMAC and HKDF for protocol code: synchronous, portable and pure, so that digests need no driver. */
export { hkdf } from "@noble/hashes/hkdf.js";
export { hmac } from "@noble/hashes/hmac.js";
/** Only where an RFC demands them: STUN's MESSAGE-INTEGRITY is HMAC-SHA1 and its long-term keys are MD5. */
export { md5, sha1 } from "@noble/hashes/legacy.js";
export { sha256 } from "@noble/hashes/sha2.js";
