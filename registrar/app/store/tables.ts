/** The tables, as Kysely types; `migrations.ts` makes them. Times are wall-clock milliseconds. */
import type { Generated } from 'kysely';

export type Tables = {
  settings: SettingsTable;
  accounts: AccountsTable;
  bindings: BindingsTable;
  calls: CallsTable;
  messages: MessagesTable;
};

/** Single values that belong to the data, such as the realm that the HA1 values were made for. */
export type SettingsTable = { name: string; value: string };

export type AccountsTable = {
  /** Canonical. */
  nickname: string;
  spelling: string;
  displayName: string;
  realm: string;
  /** JSON object: user name as a phone may write it -> HA1. */
  ha1Md5: string;
  ha1Sha256: string;
  createdAtMs: number;
};

export type BindingsTable = {
  nickname: string;
  /** Contact URI, or instance and reg-id: what makes a binding the same one. */
  bindingKey: string;
  contactUri: string;
  contactParameters: string;
  callId: string;
  cseq: number;
  q: number;
  instanceId: string | null;
  regId: number | null;
  userAgent: string | null;
  path: string | null;
  sourceAddress: string;
  sourcePort: number;
  transport: string;
  expiresAtMs: number;
  updatedAtMs: number;
};

/** One row per call, written when it ends. */
export type CallsTable = {
  id: Generated<number>;
  /** Call-ID of the caller's leg. */
  callId: string;
  /** Canonical nickname, or the URI of somebody who is not ours. */
  caller: string;
  callee: string;
  startedAtMs: number;
  answeredAtMs: number | null;
  endedAtMs: number;
  /** Final status of the INVITE: 200, 486, 487, 603, ... */
  sipStatus: number;
  /** `caller`, `callee`, `switch`. */
  endedBy: string;
  /** Reason header text or our own words. */
  reason: string;
  /** Relay statistics of the legs, JSON; null when there was no media. */
  legs: string | null;
};

/** Messages that wait for their recipient. */
export type MessagesTable = {
  id: Generated<number>;
  recipient: string;
  sender: string;
  senderDisplayName: string;
  contentType: string;
  contentEncoding: string | null;
  body: Buffer;
  receivedAtMs: number;
};
