/** CRC-32 as FINGERPRINT uses it (ISO 3309, the polynomial of Ethernet and zip), by table. */
const TABLE = new Uint32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  TABLE[byte] = rest;
}

/** The CRC-32 of the first `length` bytes, as an unsigned number. */
export function crc32(bytes: Uint8Array, length: number): number {
  let crc = 0xffffffff;
  for (let index = 0; index < length; index++) {
    crc = (crc >>> 8) ^ (TABLE[(crc ^ (bytes[index] as number)) & 0xff] as number);
  }
  return ~crc >>> 0;
}
