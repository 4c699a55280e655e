/** What the four transaction machines have in common: the shape of a step, and the actions they ask for. */

/** What whoever runs a machine does, in this order. Names of timers are those of RFC 3261 §17 and RFC 6026. */
export type Action<Timer extends string> =
  /** Send the request (client), or the response that came with `respond` and keep it for `resend` (server). */
  | { readonly kind: 'send' }
  /** Send again: the request (client) or the last response (server). */
  | { readonly kind: 'resend' }
  /** Send the ACK for a final response of 300 to 699 (RFC 3261 §17.1.1.3); the same bytes each time. */
  | { readonly kind: 'sendAck' }
  /** Send 100 Trying and keep it for `resend`. */
  | { readonly kind: 'sendTrying' }
  /** Give the message to the transaction user. */
  | { readonly kind: 'pass' }
  | { readonly kind: 'startTimer'; readonly timer: Timer; readonly afterMs: number }
  | { readonly kind: 'stopTimer'; readonly timer: Timer }
  /** Tell the transaction user that nothing came in time: a final response (client) or the ACK (server). */
  | { readonly kind: 'timeout' }
  /** Tell the transaction user that the message could not be sent. */
  | { readonly kind: 'transportFailed' }
  /** Forget the transaction; always last. */
  | { readonly kind: 'terminated' };

/** A new state, and what to do; the old state is unchanged, and equal to the new one when nothing happens. */
export type Step<State, Timer extends string> = {
  readonly state: State;
  readonly actions: readonly Action<Timer>[];
};

export const NO_ACTIONS: readonly never[] = [];
export const SEND = { kind: 'send' } as const;
export const RESEND = { kind: 'resend' } as const;
export const SEND_ACK = { kind: 'sendAck' } as const;
export const SEND_TRYING = { kind: 'sendTrying' } as const;
export const PASS = { kind: 'pass' } as const;
export const TIMEOUT = { kind: 'timeout' } as const;
export const TRANSPORT_FAILED = { kind: 'transportFailed' } as const;
export const TERMINATED = { kind: 'terminated' } as const;

export function startTimer<Timer extends string>(
  timer: Timer,
  afterMs: number,
): { kind: 'startTimer'; timer: Timer; afterMs: number } {
  return { kind: 'startTimer', timer, afterMs };
}

export function stopTimer<Timer extends string>(timer: Timer): { kind: 'stopTimer'; timer: Timer } {
  return { kind: 'stopTimer', timer };
}
