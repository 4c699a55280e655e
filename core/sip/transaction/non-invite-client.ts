/** The non-INVITE client transaction (RFC 3261 §17.1.2). */
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

type NonInviteClientPhase = 'initial' | 'trying' | 'proceeding' | 'completed' | 'terminated';
export type NonInviteClientTimer = 'E' | 'F' | 'K';

export type NonInviteClientState = {
  readonly phase: NonInviteClientPhase;
  readonly isReliable: boolean;
  readonly timers: Timers;
  /** The interval of Timer E that is running. */
  readonly retransmitMs: number;
};

export type NonInviteClientInput =
  /** The transaction user sends the request. */
  | { readonly kind: 'start' }
  | { readonly kind: 'response'; readonly statusCode: number }
  | { readonly kind: 'timer'; readonly timer: NonInviteClientTimer }
  | { readonly kind: 'transportError' };

type NonInviteClientStep = Step<NonInviteClientState, NonInviteClientTimer>;
type Actions = readonly Action<NonInviteClientTimer>[];

export function createNonInviteClient(timers: Timers, isReliable: boolean): NonInviteClientState {
  return { phase: 'initial', isReliable, timers, retransmitMs: timers.timerEMs };
}

/** One step; an input that has no meaning in the state changes nothing. */
export function stepNonInviteClient(
  state: NonInviteClientState,
  input: NonInviteClientInput,
): NonInviteClientStep {
  switch (state.phase) {
    case 'initial':
      return input.kind === 'start' ? start(state) : stay(state);
    case 'trying':
    case 'proceeding':
      return waiting(state, input);
    case 'completed': {
      // Retransmitted responses are absorbed, and nothing is sent that could fail.
      const isOver = input.kind === 'timer' && input.timer === 'K';
      return isOver ? to(state, 'terminated', [TERMINATED]) : stay(state);
    }
    case 'terminated':
      return stay(state);
  }
}

function start(state: NonInviteClientState): NonInviteClientStep {
  const { timers, isReliable } = state;
  const timerF = startTimer('F', timers.timerFMs);
  const actions: Actions = isReliable
    ? [SEND, timerF]
    : [SEND, startTimer('E', timers.timerEMs), timerF];
  return to(state, 'trying', actions);
}

function waiting(state: NonInviteClientState, input: NonInviteClientInput): NonInviteClientStep {
  switch (input.kind) {
    case 'response':
      return answered(state, input.statusCode);
    case 'timer':
      if (input.timer === 'E') return retransmit(state);
      if (input.timer !== 'F') return stay(state);
      return to(state, 'terminated', [stopTimer('E'), TIMEOUT, TERMINATED]);
    case 'transportError':
      return to(state, 'terminated', [
        stopTimer('E'),
        stopTimer('F'),
        TRANSPORT_FAILED,
        TERMINATED,
      ]);
    case 'start':
      return stay(state);
  }
}

/** In Trying the interval doubles up to T2; in Proceeding it is T2. */
function retransmit(state: NonInviteClientState): NonInviteClientStep {
  const { t2Ms } = state.timers;
  const doubled = Math.min(state.retransmitMs * 2, t2Ms);
  const retransmitMs = state.phase === 'proceeding' ? t2Ms : doubled;
  return { state: { ...state, retransmitMs }, actions: [RESEND, startTimer('E', retransmitMs)] };
}

function answered(state: NonInviteClientState, statusCode: number): NonInviteClientStep {
  if (statusCode < 200) return to(state, 'proceeding', [PASS]);
  const stops: Actions = [stopTimer('E'), stopTimer('F'), PASS];
  if (state.isReliable) return to(state, 'terminated', [...stops, TERMINATED]);
  return to(state, 'completed', [...stops, startTimer('K', state.timers.timerKMs)]);
}

function to(
  state: NonInviteClientState,
  phase: NonInviteClientPhase,
  actions: Actions,
): NonInviteClientStep {
  return { state: state.phase === phase ? state : { ...state, phase }, actions };
}

function stay(state: NonInviteClientState): NonInviteClientStep {
  return { state, actions: NO_ACTIONS };
}
