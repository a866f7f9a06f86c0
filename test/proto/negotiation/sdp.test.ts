import { expect, test } from "vitest";
import { isCandidate, parseSdp } from "../../../src/proto/negotiation/sdp.ts";
import { certificate, fingerprintLine, sdpOf } from "./fixture.ts";

const SHA1 = `a=fingerprint:sha-1 ${new Array<string>(20).fill("AB").join(":")}`;
const SHA512 = `a=fingerprint:sha-512 ${new Array<string>(64).fill("AB").join(":")}`;
const without = (line: string): string => sdpOf(1).replace(`${line}\r\n`, "");
const WEBRTC = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel";

/** As libdatachannel and werift print them, candidates and addresses replaced. */
const NATIVE =
  "v=0\r\no=rtc 3241309627 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=msid-semantic:WMS *\r\na=ice-options:ice2,trickle\r\na=fingerprint:sha-256 E5:BF:E7:06:4B:AE:2C:C1:CE:B5:77:37:32:C9:E2:7B:51:C0:7B:78:57:82:97:9F:3D:F6:AD:49:F0:7A:A7:D6\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendrecv\r\na=sctp-port:5000\r\na=max-message-size:262144\r\na=setup:actpass\r\na=ice-ufrag:H8UM\r\na=ice-pwd:MYUdsWYdvGNSPEa/B6weCq\r\n";
const WERIFT =
  "v=0\r\no=- 16463551 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=extmap-allow-mixed\r\na=msid-semantic:WMS *\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=candidate:32b1715da3b0ef8ba684454eb 1 udp 2116026367 192.0.2.2 43644 typ host generation 0 ufrag df26\r\na=end-of-candidates\r\na=ice-ufrag:df26\r\na=ice-pwd:20727d65993e3040b4c1a6\r\na=ice-options:trickle\r\na=fingerprint:sha-256 43:11:6D:48:8E:7F:AA:DD:1F:53:F9:E3:FF:05:89:34:C6:70:DB:48:7A:5C:77:E4:90:E0:76:02:72:3B:AC:93\r\na=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:65536\r\n";

test("the fingerprint of a description is read as 32 bytes", () => {
  expect(parseSdp(sdpOf(0xab))).toEqual({ ok: true, fingerprint: certificate(0xab) });
  expect(parseSdp(sdpOf(1).replaceAll("\r\n", "\n"))).toEqual({ ok: true, fingerprint: certificate(1) });
  expect(parseSdp(NATIVE)).toMatchObject({ ok: true });
  const werift = parseSdp(WERIFT);
  expect(werift.ok && [...werift.fingerprint.subarray(0, 3)]).toEqual([0x43, 0x11, 0x6d]);
});

test("case does not matter in a fingerprint, nor does repeating it", () => {
  const lower = fingerprintLine(0xab).toLowerCase();
  expect(parseSdp(sdpOf(0xab, lower, fingerprintLine(0xab).replace("sha", "SHA")))).toMatchObject({ ok: true });
});

test.each([
  ["no fingerprint", without(fingerprintLine(1)), "no-fingerprint"],
  ["two different fingerprints", sdpOf(1, fingerprintLine(2)), "two-fingerprints"],
  ["SHA-1 alone", `${without(fingerprintLine(1))}${SHA1}\r\n`, "foreign-hash"],
  ["SHA-512 alone", `${without(fingerprintLine(1))}${SHA512}\r\n`, "foreign-hash"],
  ["SHA-1 beside SHA-256", sdpOf(1, SHA1), "foreign-hash"],
  ["a short fingerprint", sdpOf(1, "a=fingerprint:sha-256 AB:CD"), "malformed"],
  ["a fingerprint in other letters", sdpOf(1, fingerprintLine(2).replace("a=f", "a=F")), "two-fingerprints"],
  ["a fingerprint behind a space", sdpOf(1, fingerprintLine(2).replace("a=", "a= ")), "malformed"],
  ["a fingerprint in a foreign attribute", sdpOf(1, `a=x-${fingerprintLine(2).slice(2)}`), "malformed"],
  ["two spaces before the value", sdpOf(1, fingerprintLine(2).replace("256 ", "256  ")), "malformed"],
  ["a lone line feed among CRLF", sdpOf(1, `a=x:y\n${fingerprintLine(2)}`), "malformed"],
  ["a lone carriage return", sdpOf(1, `a=x:y\r${fingerprintLine(2)}`), "malformed"],
  ["a zero byte", sdpOf(1, "a=x:\0"), "malformed"],
  ["a line separator", sdpOf(1, `a=x:\u2028${fingerprintLine(2)}`), "malformed"],
  ["an empty line", sdpOf(1, "", fingerprintLine(1)), "malformed"],
  ["a line without a type", sdpOf(1, "hello"), "malformed"],
  ["another beginning", `x${sdpOf(1)}`, "malformed"],
  ["nothing", "", "malformed"],
  ["video", sdpOf(1, "m=video 9 UDP/TLS/RTP/SAVPF 96"), "foreign-media"],
  ["audio alone", sdpOf(1).replace(WEBRTC, "m=audio 9 UDP/TLS/RTP/SAVPF 0"), "foreign-media"],
  ["two channels", sdpOf(1, WEBRTC), "foreign-media"],
  ["a channel without DTLS", sdpOf(1).replace("UDP/DTLS/SCTP", "UDP/SCTP"), "foreign-media"],
  ["no channel", without(WEBRTC), "no-channel"],
  ["16 KiB and one", sdpOf(1, `a=x:${"y".repeat(16_384)}`), "too-long"],
] as const)("a description with %s does not reach the stack", (_, sdp, fault) => {
  expect(parseSdp(sdp)).toEqual({ ok: false, fault });
});

test("a candidate is one printable line", () => {
  expect(isCandidate("candidate:1 1 udp 2 192.0.2.1 9 typ host", "0")).toBe(true);
  expect(isCandidate("candidate:1 1 udp 2 192.0.2.1 9 typ host\r\na=fingerprint:x", "0")).toBe(false);
  expect(isCandidate("candidate:1 1 udp 2 192.0.2.1 9 typ host", "0\r\n")).toBe(false);
  expect(isCandidate("a=candidate:1", "0")).toBe(false);
  expect(isCandidate("", "0")).toBe(false);
  expect(isCandidate(`candidate:${"1".repeat(1_015)}`, "0")).toBe(false);
});
