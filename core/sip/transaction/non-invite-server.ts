/** The non-INVITE server transaction (RFC 3261 §17.2.2, with the rules of RFC 4320 on 100 and 408). */
import {
  NO_ACTIONS,
  PASS,
  RESEND,
  SEND,
  SEND_TRYING,
  startTimer,
  stopTimer,
  TERMINATED,
  TRANSPORT_FAILED,
  type Action,
  type Step,
} from './step.ts';
import type { Timers } from './timers.ts';

type NonInviteServerPhase = 'initial' | 'trying' | 'proceeding' | 'completed' | 'terminated';
/** `trying` is the moment of RFC 4320 §4.1 at which a 100 becomes due. */
export type NonInviteServerTimer = 'J' | 'trying';

export type NonInviteServerState = {
  readonly phase: NonInviteServerPhase;
  readonly isReliable: boolean;
  readonly timers: Timers;
};

export type NonInviteServerInput =
  /** The request: the first time, or retransmitted. */
  | { readonly kind: 'request' }
  | { readonly kind: 'respond'; readonly statusCode: number }
  | { readonly kind: 'timer'; readonly timer: NonInviteServerTimer }
  | { readonly kind: 'transportError' };

type NonInviteServerStep = Step<NonInviteServerState, NonInviteServerTimer>;
type Actions = readonly Action<NonInviteServerTimer>[];

export function createNonInviteServer(timers: Timers, isReliable: boolean): NonInviteServerState {
  return { phase: 'initial', isReliable, timers };
}

/**
 * One step; an input that has no meaning in the state changes nothing.
 *
 * RFC 4320: provisional responses other than 100 are never sent (§4.1); a 100 over an unreliable transport goes out
 * only when a client's Timer E has reached T2, and then by itself; a 408 is never sent (§4.2): it ends the transaction
 * in silence, because the client has timed out or is about to.
 */
export function stepNonInviteServer(
  state: NonInviteServerState,
  input: NonInviteServerInput,
): NonInviteServerStep {
  if (input.kind === 'transportError') return transportFailed(state);
  switch (state.phase) {
    case 'initial': {
      const due = startTimer('trying', state.timers.tryingDelayMs);
      return input.kind === 'request' ? to(state, 'trying', [PASS, due]) : stay(state);
    }
    case 'trying':
    case 'proceeding':
      return unanswered(state, input);
    case 'completed':
      if (input.kind === 'request') return { state, actions: [RESEND] };
      return isTimer(input, 'J') ? to(state, 'terminated', [TERMINATED]) : stay(state);
    case 'terminated':
      return stay(state);
  }
}

/** RFC 6026 §8.8 applies to RFC 3261 §17.2.4 as a whole: the state stays, to absorb retransmissions. */
function transportFailed(state: NonInviteServerState): NonInviteServerStep {
  const isInFlight = state.phase !== 'initial' && state.phase !== 'terminated';
  return isInFlight ? { state, actions: [TRANSPORT_FAILED] } : stay(state);
}

/** Before the final response. */
function unanswered(state: NonInviteServerState, input: NonInviteServerInput): NonInviteServerStep {
  const isTrying = state.phase === 'trying';
  if (input.kind === 'respond') return respond(state, input.statusCode);
  if (input.kind === 'request') return isTrying ? stay(state) : { state, actions: [RESEND] };
  const isDue = isTrying && isTimer(input, 'trying');
  return isDue ? to(state, 'proceeding', [SEND_TRYING]) : stay(state);
}

function respond(state: NonInviteServerState, statusCode: number): NonInviteServerStep {
  if (statusCode < 200) {
    const isAllowed = statusCode === 100 && (state.isReliable || state.phase === 'proceeding');
    return isAllowed ? to(state, 'proceeding', [stopTimer('trying'), SEND]) : stay(state);
  }
  const stop = stopTimer('trying');
  if (statusCode === 408) return to(state, 'terminated', [stop, TERMINATED]);
  if (state.isReliable) return to(state, 'terminated', [stop, SEND, TERMINATED]);
  return to(state, 'completed', [stop, SEND, startTimer('J', state.timers.timerJMs)]);
}

function isTimer(input: NonInviteServerInput, timer: NonInviteServerTimer): boolean {
  return input.kind === 'timer' && input.timer === timer;
}

function to(
  state: NonInviteServerState,
  phase: NonInviteServerPhase,
  actions: Actions,
): NonInviteServerStep {
  return { state: { ...state, phase }, actions };
}

function stay(state: NonInviteServerState): NonInviteServerStep {
  return { state, actions: NO_ACTIONS };
}
