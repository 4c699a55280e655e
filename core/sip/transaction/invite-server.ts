/** The INVITE server transaction (RFC 3261 §17.2.1, with the Accepted state of RFC 6026 §7.1). */
import {
  NO_ACTIONS,
  PASS,
  RESEND,
  SEND,
  startTimer,
  stopTimer,
  TERMINATED,
  TIMEOUT,
  TRANSPORT_FAILED,
  type Action,
  type Step,
} from './step.ts';
import type { Timers } from './timers.ts';

type InviteServerPhase =
  'initial' | 'proceeding' | 'completed' | 'confirmed' | 'accepted' | 'terminated';
export type InviteServerTimer = 'G' | 'H' | 'I' | 'L';

export type InviteServerState = {
  readonly phase: InviteServerPhase;
  readonly isReliable: boolean;
  readonly timers: Timers;
  /** The interval of Timer G that is running. */
  readonly retransmitMs: number;
  /** A provisional response was sent, so that a retransmitted INVITE can be answered. */
  readonly hasResponse: boolean;
};

export type InviteServerInput =
  /** The INVITE: the first time, or retransmitted. */
  | { readonly kind: 'request' }
  | { readonly kind: 'ack' }
  /** The transaction user answers; in Accepted, it retransmits its 2xx. */
  | { readonly kind: 'respond'; readonly statusCode: number }
  | { readonly kind: 'timer'; readonly timer: InviteServerTimer }
  | { readonly kind: 'transportError' };

type InviteServerStep = Step<InviteServerState, InviteServerTimer>;
type Actions = readonly Action<InviteServerTimer>[];

export function createInviteServer(timers: Timers, isReliable: boolean): InviteServerState {
  const retransmitMs = timers.timerGMs;
  return { phase: 'initial', isReliable, timers, retransmitMs, hasResponse: false };
}

/**
 * One step; an input that has no meaning in the state changes nothing. The first `request` is passed up, and the
 * transaction user answers 100 at once unless it has something better (RFC 3261 §17.2.1 allows 200 ms).
 */
export function stepInviteServer(
  state: InviteServerState,
  input: InviteServerInput,
): InviteServerStep {
  if (input.kind === 'transportError') return transportFailed(state);
  switch (state.phase) {
    case 'initial':
      return input.kind === 'request' ? to(state, 'proceeding', [PASS]) : stay(state);
    case 'proceeding':
      return proceeding(state, input);
    case 'completed':
      return completed(state, input);
    case 'confirmed': {
      const isOver = input.kind === 'timer' && input.timer === 'I';
      return isOver ? to(state, 'terminated', [TERMINATED]) : stay(state);
    }
    case 'accepted':
      return accepted(state, input);
    case 'terminated':
      return stay(state);
  }
}

/** RFC 6026 §8.8: a response that cannot be sent leaves the transaction as it is, to absorb retransmissions. */
function transportFailed(state: InviteServerState): InviteServerStep {
  const isInFlight = state.phase !== 'initial' && state.phase !== 'terminated';
  return isInFlight ? { state, actions: [TRANSPORT_FAILED] } : stay(state);
}

function proceeding(state: InviteServerState, input: InviteServerInput): InviteServerStep {
  if (input.kind === 'request') {
    return state.hasResponse ? { state, actions: [RESEND] } : stay(state);
  }
  if (input.kind !== 'respond') return stay(state);
  const { timers, isReliable } = state;
  if (input.statusCode < 200) return { state: { ...state, hasResponse: true }, actions: [SEND] };
  if (input.statusCode < 300) {
    return to(state, 'accepted', [SEND, startTimer('L', timers.timerLMs)]);
  }
  const timerH = startTimer('H', timers.timerHMs);
  const actions: Actions = isReliable
    ? [SEND, timerH]
    : [SEND, startTimer('G', timers.timerGMs), timerH];
  return to(state, 'completed', actions);
}

function completed(state: InviteServerState, input: InviteServerInput): InviteServerStep {
  const { timers, isReliable } = state;
  if (input.kind === 'request') return { state, actions: [RESEND] };
  if (input.kind === 'ack') {
    const stops: Actions = [stopTimer('G'), stopTimer('H')];
    if (isReliable) return to(state, 'terminated', [...stops, TERMINATED]);
    return to(state, 'confirmed', [...stops, startTimer('I', timers.timerIMs)]);
  }
  if (input.kind !== 'timer') return stay(state);
  if (input.timer === 'G') {
    const retransmitMs = Math.min(state.retransmitMs * 2, timers.t2Ms);
    return { state: { ...state, retransmitMs }, actions: [RESEND, startTimer('G', retransmitMs)] };
  }
  if (input.timer !== 'H') return stay(state);
  return to(state, 'terminated', [stopTimer('G'), TIMEOUT, TERMINATED]);
}

/** RFC 6026 §7.1: retransmitted INVITEs are absorbed, ACKs go up, and the transaction user repeats its 2xx. */
function accepted(state: InviteServerState, input: InviteServerInput): InviteServerStep {
  switch (input.kind) {
    case 'ack':
      return { state, actions: [PASS] };
    case 'respond': {
      const isSuccess = input.statusCode >= 200 && input.statusCode < 300;
      return isSuccess ? { state, actions: [SEND] } : stay(state);
    }
    case 'timer':
      return input.timer === 'L' ? to(state, 'terminated', [TERMINATED]) : stay(state);
    case 'request':
    case 'transportError':
      return stay(state);
  }
}

function to(
  state: InviteServerState,
  phase: InviteServerPhase,
  actions: Actions,
): InviteServerStep {
  return { state: { ...state, phase }, actions };
}

function stay(state: InviteServerState): InviteServerStep {
  return { state, actions: NO_ACTIONS };
}
