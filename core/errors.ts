/** Families of expected failures; tell them apart by class or by `code`, never by message. */

/** Something that went wrong for a reason outside this program: a peer, a policy, a resource, a setting. */
export abstract class SwitchError extends Error {
  /** Stable, machine-readable name of the failure, for example `sip.header.malformed`. */
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** A peer's bytes break a grammar. `offset` is where in the input, in bytes, when it is known. */
export class ParseError extends SwitchError {
  readonly offset: number | undefined;

  constructor(code: string, message: string, offset?: number) {
    super(code, message);
    this.offset = offset;
  }
}

/** The right bytes at the wrong moment, or a combination that a protocol forbids. */
export class ProtocolError extends SwitchError {
  /** The SIP status that tells the peer, 400 to 699. */
  readonly sipStatus: number;

  constructor(code: string, message: string, sipStatus: number) {
    super(code, message);
    this.sipStatus = sipStatus;
  }
}

/** Policy says no: not authenticated, not allowed, not acceptable here. */
export class RefusedError extends SwitchError {
  /** The SIP status that tells the peer, 400 to 699. */
  readonly sipStatus: number;

  constructor(code: string, message: string, sipStatus: number) {
    super(code, message);
    this.sipStatus = sipStatus;
  }
}

/** Ports, rooms, memory or processor time have run out; the peer gets 503 with Retry-After. */
export class ResourceError extends SwitchError {
  readonly sipStatus = 503;
  readonly retryAfterSeconds: number;

  constructor(code: string, message: string, retryAfterSeconds = 5) {
    super(code, message);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** The link between two of our own parts failed: `closed`, `timeout` or `refused`. */
export class ControlError extends SwitchError {}

/** A setting, a file or a command-line word is wrong; the message says what to do. Exit code 1. */
export class ConfigError extends SwitchError {}
