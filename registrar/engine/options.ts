/** What an engine is started with, and the bounds that it keeps. */

import type { Log } from '../../core/log.ts';
import type { Listener } from './seam.ts';

/** Every bound is for the whole engine unless its name says otherwise. */
export type EngineLimits = {
  /** Requests that wait for their final response, received and sent ones together; new ones beyond it get 503. */
  readonly transactions: number;
  /** Those, and the ones that are only kept to answer repetitions. */
  readonly retainedTransactions: number;
  /** Dialogs, early ones included; requests that would make one get 503 beyond it. */
  readonly dialogs: number;
  /** A whole message on a stream, and what an application may send; 513 beyond it. */
  readonly messageBytes: number;
  /** Start line and headers together. */
  readonly headerBytes: number;
  readonly headerCount: number;
  /** New requests that one application has been given and has not got to; new ones beyond it get 503. */
  readonly waitingRequests: number;
  /** How many of those 503 are sent each second; what is more gets no answer. */
  readonly refusalsPerSecond: number;
  /** Control connections that we opened to applications. */
  readonly outboundSessions: number;
  /** Requests about which a web server is being asked. */
  readonly routeQuestions: number;
  /** Requests of one dialog that wait for their answer; 503 beyond it. */
  readonly requestsPerDialog: number;
  /**
   * Stream connections that peers opened, and how many of them from one address (IPv6: one /64 network); kept by
   * whoever owns the sockets.
   */
  readonly flows: number;
  readonly flowsPerAddress: number;
  /**
   * New requests from one address (IPv6: one /64 network), sustained, and how many at once; 0 is no bound. Responses,
   * repetitions and requests of dialogs do not count.
   */
  readonly requestsPerSecondPerAddress: number;
  readonly requestBurstPerAddress: number;
  /** Addresses without that bound. */
  readonly unboundAddresses: readonly string[];
  /** Bytes waiting for a stream connection that is still being opened. */
  readonly unsentBytesPerFlow: number;
  /** Bytes that a peer does not read: it loses its connection beyond them. Kept by whoever owns the sockets. */
  readonly queuedBytesPerFlow: number;
};

export const DEFAULT_LIMITS: EngineLimits = {
  transactions: 50_000,
  retainedTransactions: 300_000,
  dialogs: 50_000,
  messageBytes: 65_536,
  headerBytes: 16_384,
  headerCount: 128,
  waitingRequests: 1_000,
  refusalsPerSecond: 2_000,
  outboundSessions: 4_000,
  routeQuestions: 1_000,
  requestsPerDialog: 64,
  flows: 20_000,
  flowsPerAddress: 1_000,
  requestsPerSecondPerAddress: 500,
  requestBurstPerAddress: 1_000,
  unboundAddresses: ['127.0.0.1', '::1'],
  unsentBytesPerFlow: 262_144,
  queuedBytesPerFlow: 4_194_304,
};

/** Durations that RFC 3261 lets an administrator choose, and those of the control protocol; in milliseconds. */
export type EngineTimers = {
  readonly t1Ms: number;
  readonly t2Ms: number;
  readonly t4Ms: number;
  /** How long an INVITE waits for the first answer of an application before it gets 408. */
  readonly inviteAnswerMs: number;
  /** The same for other requests, which get 503; below Timer F (RFC 4320 §4.2: a late answer is useless). */
  readonly answerMs: number;
  /** An INVITE that we proxied and that nobody answers finally (RFC 3261 §16.6 step 11). */
  readonly timerCMs: number;
  /** How long after its OK a failure that we invent is told, so that the application listens by then. */
  readonly inventedFailureMs: number;
  /** How long a connection that we opened may be idle before we close it. */
  readonly idleFlowMs: number;
  /** How long a connection that a peer opened may take to send its first whole message. */
  readonly firstMessageMs: number;
  /** How long a message may stay unfinished on a connection. */
  readonly stalledMessageMs: number;
  /** How long a connection that a peer opened may be idle while nobody is registered, talks or waits on it. */
  readonly unusedFlowMs: number;
  /** How long we try to reach a UDP peer by TCP with a message that is too big for a datagram. */
  readonly tcpUpgradeMs: number;
  /** How long an application that we connect to may take to accept the connection and to authenticate. */
  readonly dialMs: number;
  /** How long a connection that we opened to an application stays when nothing goes on over it any more. */
  readonly unusedSessionMs: number;
  /** How long an application that connects to us may take to authenticate. */
  readonly authenticateMs: number;
  /** How long a web server may take to say what is to become of a request. */
  readonly routeAnswerMs: number;
};

export const DEFAULT_TIMERS: EngineTimers = {
  t1Ms: 500,
  t2Ms: 4_000,
  t4Ms: 5_000,
  inviteAnswerMs: 64_000,
  answerMs: 30_000,
  timerCMs: 185_000,
  inventedFailureMs: 5,
  idleFlowMs: 120_000,
  firstMessageMs: 32_000,
  stalledMessageMs: 10_000,
  unusedFlowMs: 300_000,
  tcpUpgradeMs: 1_000,
  dialMs: 5_000,
  unusedSessionMs: 32_000,
  authenticateMs: 5_000,
  routeAnswerMs: 3_000,
};

/** Who decides about new requests instead of those that route them. */
export type RequestHandler = {
  /** `*`, or nothing, for all methods that no other handler names. */
  readonly method?: string | undefined;
  /**
   * `tcp://host:port` or `tls://host:port` of an application (port 9021 when none is given), to which we connect once for
   * each request; or the http or https URL of a web server, which is asked about each.
   */
  readonly uri: string;
  /** Ask by POST, with the request as body, instead of by GET. */
  readonly withBody?: boolean | undefined;
};

/**
 * Applications that are not the owner's: those that connect by a port of their own, and those that we connect to. The
 * owner's come first in what they route.
 */
export type FurtherApplications = {
  /** What they must present, and whom we connect to as well. */
  readonly secret: string;
  /** Methods in which they come first, when one of them routes it. */
  readonly methods: readonly string[];
};

export type EngineOptions = {
  readonly listeners: readonly Listener[];
  /** What applications must present in `authenticate`. */
  readonly secret: string;
  /** That many unpredictable bytes. */
  readonly random: (bytes: number) => Buffer;
  /** Milliseconds since 1970 in UTC, fractions allowed; only shown to applications, never computed with. */
  readonly wallClockMs: () => number;
  /** What `authenticate` answers; must begin `v<major>.<minor>.<patch>`. */
  readonly version?: string | undefined;
  readonly timers?: Partial<EngineTimers> | undefined;
  readonly limits?: Partial<EngineLimits> | undefined;
  readonly requestHandlers?: readonly RequestHandler[] | undefined;
  /** Without it all applications are equal. */
  readonly furtherApplications?: FurtherApplications | undefined;
  /** Whether calls are reported to applications that route `cdr:*`. */
  readonly hasCallRecords?: boolean | undefined;
  readonly log?: Log | undefined;
};
