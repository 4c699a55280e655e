/** The INVITE client transaction (RFC 3261 §17.1.1, with the Accepted state of RFC 6026 §7.2). */
import {
  NO_ACTIONS,
  PASS,
  RESEND,
  SEND,
  SEND_ACK,
  startTimer,
  stopTimer,
  TERMINATED,
  TIMEOUT,
  TRANSPORT_FAILED,
  type Action,
  type Step,
} from './step.ts';
import type { Timers } from './timers.ts';

type InviteClientPhase =
  'initial' | 'calling' | 'proceeding' | 'completed' | 'accepted' | 'terminated';
export type InviteClientTimer = 'A' | 'B' | 'D' | 'M';

export type InviteClientState = {
  readonly phase: InviteClientPhase;
  readonly isReliable: boolean;
  readonly timers: Timers;
  /** The interval of Timer A that is running. */
  readonly retransmitMs: number;
};

export type InviteClientInput =
  /** The transaction user sends the INVITE. */
  | { readonly kind: 'start' }
  | { readonly kind: 'response'; readonly statusCode: number }
  | { readonly kind: 'timer'; readonly timer: InviteClientTimer }
  | { readonly kind: 'transportError' };

type InviteClientStep = Step<InviteClientState, InviteClientTimer>;
type Actions = readonly Action<InviteClientTimer>[];

export function createInviteClient(timers: Timers, isReliable: boolean): InviteClientState {
  return { phase: 'initial', isReliable, timers, retransmitMs: timers.timerAMs };
}

/** One step; an input that has no meaning in the state changes nothing. */
export function stepInviteClient(
  state: InviteClientState,
  input: InviteClientInput,
): InviteClientStep {
  switch (state.phase) {
    case 'initial':
      return input.kind === 'start' ? start(state) : stay(state);
    case 'calling':
      return calling(state, input);
    case 'proceeding':
      return proceeding(state, input);
    case 'completed':
      return completed(state, input);
    case 'accepted':
      return accepted(state, input);
    case 'terminated':
      return stay(state);
  }
}

function start(state: InviteClientState): InviteClientStep {
  const { timers, isReliable } = state;
  const timerB = startTimer('B', timers.timerBMs);
  const actions: Actions = isReliable
    ? [SEND, timerB]
    : [SEND, startTimer('A', timers.timerAMs), timerB];
  return to(state, 'calling', actions);
}

function calling(state: InviteClientState, input: InviteClientInput): InviteClientStep {
  switch (input.kind) {
    case 'response':
      return answered(state, input.statusCode, [stopTimer('A'), stopTimer('B')]);
    case 'timer':
      if (input.timer === 'A') {
        const retransmitMs = state.retransmitMs * 2;
        const actions: Actions = [RESEND, startTimer('A', retransmitMs)];
        return { state: { ...state, retransmitMs }, actions };
      }
      if (input.timer !== 'B') return stay(state);
      return to(state, 'terminated', [stopTimer('A'), TIMEOUT, TERMINATED]);
    case 'transportError':
      return to(state, 'terminated', [
        stopTimer('A'),
        stopTimer('B'),
        TRANSPORT_FAILED,
        TERMINATED,
      ]);
    case 'start':
      return stay(state);
  }
}

function proceeding(state: InviteClientState, input: InviteClientInput): InviteClientStep {
  if (input.kind === 'response') return answered(state, input.statusCode, NO_ACTIONS);
  if (input.kind !== 'transportError') return stay(state);
  // Nothing is being sent here, so this is the loss of the connection on which the answer would come.
  return to(state, 'terminated', [TRANSPORT_FAILED, TERMINATED]);
}

/** A response in Calling or Proceeding. */
function answered(state: InviteClientState, statusCode: number, before: Actions): InviteClientStep {
  const { timers, isReliable } = state;
  if (statusCode < 200) return to(state, 'proceeding', [...before, PASS]);
  if (statusCode < 300) {
    return to(state, 'accepted', [...before, PASS, startTimer('M', timers.timerMMs)]);
  }
  if (isReliable) return to(state, 'terminated', [...before, SEND_ACK, PASS, TERMINATED]);
  const timerD = startTimer('D', timers.timerDMs);
  return to(state, 'completed', [...before, SEND_ACK, PASS, timerD]);
}

function completed(state: InviteClientState, input: InviteClientInput): InviteClientStep {
  switch (input.kind) {
    case 'response':
      return input.statusCode >= 300 ? { state, actions: [SEND_ACK] } : stay(state);
    case 'timer':
      return input.timer === 'D' ? to(state, 'terminated', [TERMINATED]) : stay(state);
    case 'transportError':
      return to(state, 'terminated', [stopTimer('D'), TRANSPORT_FAILED, TERMINATED]);
    case 'start':
      return stay(state);
  }
}

/** RFC 6026 §7.2: every 2xx goes up, whichever fork it is from; the transaction user sends the ACKs. */
function accepted(state: InviteClientState, input: InviteClientInput): InviteClientStep {
  if (input.kind === 'response' && input.statusCode >= 200 && input.statusCode < 300) {
    return { state, actions: [PASS] };
  }
  const isOver = input.kind === 'timer' && input.timer === 'M';
  return isOver ? to(state, 'terminated', [TERMINATED]) : stay(state);
}

function to(
  state: InviteClientState,
  phase: InviteClientPhase,
  actions: Actions,
): InviteClientStep {
  return { state: state.phase === phase ? state : { ...state, phase }, actions };
}

function stay(state: InviteClientState): InviteClientStep {
  return { state, actions: NO_ACTIONS };
}
