/** The public face of `starling-mesh`: everything an application may import. */

export type { Administration, Rekeying, SignWith } from "./agent/administration.ts";
export type {
  Bucket,
  BucketPolicy,
  ConditionalWriteOptions,
  Entry,
  EntryPage,
  KeyValue,
  ListOptions,
  ReadOptions,
  WatchOptions,
  WriteOptions,
  WriteResult,
} from "./agent/bucket.ts";
export type { AgentCounters } from "./agent/counters.ts";
export type {
  AgentEventMap,
  IssuingKeyExpiringEvent,
  LinkChangeEvent,
  LinkEventName,
  MemberChangeEvent,
  MemberEventName,
  MemberInfo,
  ReseededEvent,
  TokenExpiringEvent,
} from "./agent/events.ts";
export type { KeysOfMember } from "./agent/key-census.ts";
export type { MeshStream } from "./agent/stream.ts";
export type { TopicMessage } from "./agent/topics.ts";
export { Agent, createAgent, type StreamHandler } from "./agent.ts";
export { type DialStage, type ErrorCode, StarlingError } from "./errors.ts";
export type { FamilyReport, NatReport, NetcheckReport, ServerReport, SignalingReport } from "./netcheck.ts";
export type { AgentOptions, Logger, RelayOptions } from "./options.ts";
export type {
  CandidatePair,
  CandidateSummary,
  IceServer,
  RtcConnection,
  RtcEvent,
  RtcOptions,
} from "./proto/negotiation/rtc.ts";
export { type PeerId, parsePeerId } from "./proto/peer-id.ts";
export type { StreamPriority } from "./proto/streams/events.ts";
export type { RtcStack } from "./rtc.ts";
export type {
  AgentStatus,
  AuditStatus,
  BucketStatus,
  LinkStatus,
  MemberPath,
  MemberState,
  MemberStatus,
  SelfStatus,
  SignaledLinkStatus,
  SignalingStatus,
  StatusWarning,
  StoreDamage,
  StoreStatus,
} from "./status.ts";
export { version } from "./version.ts";
export type { PathAccount, RoundAccount, WhyReport } from "./why.ts";
