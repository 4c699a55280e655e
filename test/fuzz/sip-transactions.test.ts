import assert from 'node:assert/strict';
import fc from 'fast-check';
import { createInviteClient, stepInviteClient } from '../../core/sip/transaction/invite-client.ts';
import { createInviteServer, stepInviteServer } from '../../core/sip/transaction/invite-server.ts';
import {
  createNonInviteClient,
  stepNonInviteClient,
} from '../../core/sip/transaction/non-invite-client.ts';
import {
  createNonInviteServer,
  stepNonInviteServer,
} from '../../core/sip/transaction/non-invite-server.ts';
import type { Step } from '../../core/sip/transaction/step.ts';
import { deriveTimers } from '../../core/sip/transaction/timers.ts';
import { checkProperty } from '../support/fuzz.ts';

const TIMERS = deriveTimers();

/** Something that happens: a message or error, or the running timer that was started first. */
type Event<Input> =
  { readonly kind: 'input'; readonly input: Input } | { readonly kind: 'oldestTimer' };

/** Runs a machine as an engine would, and holds it to what every engine relies on. */
function run<State extends { readonly phase: string }, Input, Timer extends string>(
  initial: State,
  step: (state: State, input: Input) => Step<State, Timer>,
  toInput: (timer: Timer) => Input,
  events: readonly Event<Input>[],
): void {
  let state = initial;
  const running = new Set<Timer>();
  let isOver = false;
  const take = (input: Input): void => {
    const result = step(state, input);
    state = result.state;
    assert(!isOver || result.actions.length === 0, 'acts after its end');
    for (const action of result.actions) {
      assert(!isOver, 'acts after its end');
      if (action.kind === 'startTimer') {
        assert(action.afterMs > 0);
        assert(!running.has(action.timer), `starts timer ${action.timer}, which runs`);
        running.add(action.timer);
      }
      if (action.kind === 'stopTimer') running.delete(action.timer);
      isOver ||= action.kind === 'terminated';
    }
    assert.equal(isOver, state.phase === 'terminated');
    if (isOver) assert.equal(running.size, 0, 'leaves a timer running');
  };
  const fire = (): void => {
    const [timer] = running;
    if (timer === undefined) return;
    running.delete(timer);
    take(toInput(timer));
  };
  for (const event of events) {
    if (event.kind === 'input') take(event.input);
    else fire();
  }
  // When nothing more comes in, whatever still has a timer comes to its end: the last timer of a state ends it.
  for (let i = 0; i < 100 && running.size > 0; i++) fire();
  assert.equal(running.size, 0, 'never ends');
}

const statusCode = fc.constantFrom(100, 180, 200, 202, 302, 404, 408, 486, 503, 603);

function eventsOf<Inputs extends unknown[]>(
  ...inputs: { [Index in keyof Inputs]: fc.Arbitrary<Inputs[Index]> }
): fc.Arbitrary<Event<Inputs[number]>[]> {
  const input = fc.oneof(...inputs).map((value) => ({ kind: 'input' as const, input: value }));
  const timer = fc.constant({ kind: 'oldestTimer' as const });
  return fc.array(fc.oneof(input, timer), { maxLength: 20 });
}

const start = fc.constant({ kind: 'start' } as const);
const request = fc.constant({ kind: 'request' } as const);
const ack = fc.constant({ kind: 'ack' } as const);
const transportError = fc.constant({ kind: 'transportError' } as const);
const response = statusCode.map((code) => ({ kind: 'response' as const, statusCode: code }));
const respond = statusCode.map((code) => ({ kind: 'respond' as const, statusCode: code }));

describe('transaction machines, any order of events', () => {
  it('INVITE client: acts only while it lives, and leaves no timer', () => {
    checkProperty(
      fc.property(fc.boolean(), eventsOf(start, response, transportError), (isReliable, events) => {
        const toInput = (timer: 'A' | 'B' | 'D' | 'M'): { kind: 'timer'; timer: typeof timer } => ({
          kind: 'timer',
          timer,
        });
        run(createInviteClient(TIMERS, isReliable), stepInviteClient, toInput, events);
      }),
    );
  });

  it('INVITE server: acts only while it lives, and leaves no timer', () => {
    checkProperty(
      fc.property(
        fc.boolean(),
        eventsOf(request, ack, respond, transportError),
        (isReliable, events) => {
          const toInput = (
            timer: 'G' | 'H' | 'I' | 'L',
          ): { kind: 'timer'; timer: typeof timer } => ({ kind: 'timer', timer });
          run(createInviteServer(TIMERS, isReliable), stepInviteServer, toInput, events);
        },
      ),
    );
  });

  it('non-INVITE client: acts only while it lives, and leaves no timer', () => {
    checkProperty(
      fc.property(fc.boolean(), eventsOf(start, response, transportError), (isReliable, events) => {
        const toInput = (timer: 'E' | 'F' | 'K'): { kind: 'timer'; timer: typeof timer } => ({
          kind: 'timer',
          timer,
        });
        run(createNonInviteClient(TIMERS, isReliable), stepNonInviteClient, toInput, events);
      }),
    );
  });

  it('non-INVITE server: acts only while it lives, and leaves no timer', () => {
    checkProperty(
      fc.property(
        fc.boolean(),
        eventsOf(request, respond, transportError),
        (isReliable, events) => {
          const toInput = (timer: 'J' | 'trying'): { kind: 'timer'; timer: typeof timer } => ({
            kind: 'timer',
            timer,
          });
          run(createNonInviteServer(TIMERS, isReliable), stepNonInviteServer, toInput, events);
        },
      ),
    );
  });
});
