import assert from 'node:assert/strict';
import {
  createInviteClient,
  stepInviteClient,
  type InviteClientInput,
  type InviteClientState,
} from '../../../../../core/sip/transaction/invite-client.ts';
import {
  createInviteServer,
  stepInviteServer,
  type InviteServerInput,
  type InviteServerState,
} from '../../../../../core/sip/transaction/invite-server.ts';
import {
  createNonInviteClient,
  stepNonInviteClient,
  type NonInviteClientInput,
  type NonInviteClientState,
} from '../../../../../core/sip/transaction/non-invite-client.ts';
import {
  createNonInviteServer,
  stepNonInviteServer,
  type NonInviteServerInput,
  type NonInviteServerState,
} from '../../../../../core/sip/transaction/non-invite-server.ts';
import type { Action, Step } from '../../../../../core/sip/transaction/step.ts';
import { deriveTimers } from '../../../../../core/sip/transaction/timers.ts';

const TIMERS = deriveTimers();

/** Runs a machine, checks that its states do not change behind our back, and shows actions as words. */
class Run<State extends { readonly phase: string }, Input, Timer extends string> {
  state: State;
  readonly #step: (state: State, input: Input) => Step<State, Timer>;

  constructor(state: State, step: (state: State, input: Input) => Step<State, Timer>) {
    this.state = state;
    this.#step = step;
  }

  /** What one input makes it do. */
  on(input: Input): string[] {
    const before = this.state;
    const copy = { ...before };
    const { state, actions } = this.#step(before, input);
    assert.deepEqual(before, copy, 'a step must not change its state');
    this.state = state;
    return actions.map(describeAction);
  }

  /** Several inputs, of which only the state afterwards matters. */
  after(...inputs: Input[]): this {
    for (const input of inputs) this.on(input);
    return this;
  }

  get phase(): string {
    return this.state.phase;
  }
}

function describeAction<Timer extends string>(action: Action<Timer>): string {
  if (action.kind === 'startTimer') return `${action.timer}=${action.afterMs}`;
  return action.kind === 'stopTimer' ? `stop ${action.timer}` : action.kind;
}

const START = { kind: 'start' } as const;
const REQUEST = { kind: 'request' } as const;
const ACK = { kind: 'ack' } as const;
const TRANSPORT_ERROR = { kind: 'transportError' } as const;

function response(statusCode: number): { kind: 'response'; statusCode: number } {
  return { kind: 'response', statusCode };
}

function respond(statusCode: number): { kind: 'respond'; statusCode: number } {
  return { kind: 'respond', statusCode };
}

function fires<Timer extends string>(timer: Timer): { kind: 'timer'; timer: Timer } {
  return { kind: 'timer', timer };
}

describe('transaction timers (RFC 3261 §17, table 4)', () => {
  it('are derived from T1, T2 and T4, and frozen', () => {
    assert.equal(TIMERS.timerAMs, 500);
    for (const name of [
      'timerBMs',
      'timerDMs',
      'timerFMs',
      'timerHMs',
      'timerJMs',
      'timerLMs',
      'timerMMs',
    ] as const) {
      assert.equal(TIMERS[name], 32_000, name);
    }
    assert.equal(TIMERS.timerIMs, 5000);
    assert.equal(TIMERS.timerKMs, 5000);
    assert(TIMERS.timerCMs > 180_000);
    assert.equal(Object.isFrozen(TIMERS), true);
  });

  it('make a 100 due when Timer E reaches T2 (RFC 4320 §4.1)', () => {
    assert.equal(TIMERS.tryingDelayMs, 3500);
    assert.equal(deriveTimers({ t1Ms: 100, t2Ms: 400, t4Ms: 500 }).tryingDelayMs, 300);
  });
});

type InviteClientRun = Run<InviteClientState, InviteClientInput, 'A' | 'B' | 'D' | 'M'>;
const inviteClient = (isReliable = false): InviteClientRun =>
  new Run(createInviteClient(TIMERS, isReliable), stepInviteClient);

describe('INVITE client transaction (RFC 3261 §17.1.1, RFC 6026)', () => {
  it('MUST send the INVITE and start Timers A and B', () => {
    const run = inviteClient();
    assert.deepEqual(run.on(START), ['send', 'A=500', 'B=32000']);
    assert.equal(run.phase, 'calling');
  });

  it('MUST NOT start Timer A over a reliable transport', () => {
    assert.deepEqual(inviteClient(true).on(START), ['send', 'B=32000']);
  });

  describe('Calling', () => {
    it('MUST retransmit at T1, 2·T1, 4·T1, without an upper bound', () => {
      const run = inviteClient().after(START);
      for (const next of [1000, 2000, 4000, 8000, 16_000, 32_000]) {
        assert.deepEqual(run.on(fires('A')), ['resend', `A=${next}`]);
      }
    });

    it('MUST tell the transaction user when Timer B fires', () => {
      const run = inviteClient().after(START);
      assert.deepEqual(run.on(fires('B')), ['stop A', 'timeout', 'terminated']);
      assert.equal(run.phase, 'terminated');
    });

    it('MUST tell the transaction user of a transport error', () => {
      const run = inviteClient().after(START);
      assert.deepEqual(run.on(TRANSPORT_ERROR), [
        'stop A',
        'stop B',
        'transportFailed',
        'terminated',
      ]);
    });

    it('MUST pass 1xx up and stop retransmitting', () => {
      const run = inviteClient().after(START);
      assert.deepEqual(run.on(response(180)), ['stop A', 'stop B', 'pass']);
      assert.equal(run.phase, 'proceeding');
    });
  });

  for (const [phase, inputs, stops] of [
    ['Calling', [START], ['stop A', 'stop B']],
    ['Proceeding', [START, response(100)], []],
  ] as const) {
    describe(`final response in ${phase}`, () => {
      it('MUST pass 2xx up and wait for more of them (RFC 6026 §7.2)', () => {
        const run = inviteClient().after(...inputs);
        assert.deepEqual(run.on(response(200)), [...stops, 'pass', 'M=32000']);
        assert.equal(run.phase, 'accepted');
      });

      for (const status of [300, 404, 503, 699]) {
        it(`MUST acknowledge ${status} and pass it up`, () => {
          const run = inviteClient().after(...inputs);
          assert.deepEqual(run.on(response(status)), [...stops, 'sendAck', 'pass', 'D=32000']);
          assert.equal(run.phase, 'completed');
        });
      }

      it('ends at once over a reliable transport, where Timer D is zero', () => {
        const run = inviteClient(true).after(...inputs);
        assert.deepEqual(run.on(response(486)), [...stops, 'sendAck', 'pass', 'terminated']);
      });
    });
  }

  describe('Proceeding', () => {
    it('MUST pass every further 1xx up, and ignore late timers', () => {
      const run = inviteClient().after(START, response(100));
      assert.deepEqual(run.on(response(183)), ['pass']);
      assert.deepEqual(run.on(fires('A')), []);
      assert.deepEqual(run.on(fires('B')), []);
      assert.equal(run.phase, 'proceeding');
    });

    it('tells the transaction user when the connection is lost', () => {
      assert.deepEqual(inviteClient(true).after(START, response(100)).on(TRANSPORT_ERROR), [
        'transportFailed',
        'terminated',
      ]);
    });
  });

  describe('Completed', () => {
    it('MUST acknowledge retransmissions again and not pass them up', () => {
      const run = inviteClient().after(START, response(486));
      assert.deepEqual(run.on(response(486)), ['sendAck']);
      assert.deepEqual(run.on(response(200)), []);
      assert.deepEqual(run.on(response(180)), []);
      assert.deepEqual(run.on(fires('D')), ['terminated']);
    });

    it('MUST tell the transaction user when the ACK cannot be sent', () => {
      const run = inviteClient().after(START, response(486));
      assert.deepEqual(run.on(TRANSPORT_ERROR), ['stop D', 'transportFailed', 'terminated']);
    });
  });

  describe('Accepted (RFC 6026 §7.2)', () => {
    it('MUST pass every 2xx up, drop others, and end with Timer M', () => {
      const run = inviteClient().after(START, response(200));
      assert.deepEqual(run.on(response(200)), ['pass']);
      assert.deepEqual(run.on(response(202)), ['pass']);
      assert.deepEqual(run.on(response(180)), []);
      assert.deepEqual(run.on(response(486)), []);
      assert.deepEqual(run.on(TRANSPORT_ERROR), []);
      assert.deepEqual(run.on(fires('M')), ['terminated']);
    });
  });

  it('does nothing when it is over, or has not begun', () => {
    const over = inviteClient().after(START, fires('B'));
    for (const input of [START, response(200), fires('A'), TRANSPORT_ERROR])
      assert.deepEqual(over.on(input), []);
    assert.deepEqual(inviteClient().on(response(200)), []);
  });
});

type InviteServerRun = Run<InviteServerState, InviteServerInput, 'G' | 'H' | 'I' | 'L'>;
const inviteServer = (isReliable = false): InviteServerRun =>
  new Run(createInviteServer(TIMERS, isReliable), stepInviteServer);

describe('INVITE server transaction (RFC 3261 §17.2.1, RFC 6026)', () => {
  it('MUST pass the request up', () => {
    const run = inviteServer();
    assert.deepEqual(run.on(REQUEST), ['pass']);
    assert.equal(run.phase, 'proceeding');
  });

  describe('Proceeding', () => {
    it('MUST send provisional responses and repeat the last for a retransmitted INVITE', () => {
      const run = inviteServer().after(REQUEST);
      assert.deepEqual(run.on(REQUEST), []);
      assert.deepEqual(run.on(respond(100)), ['send']);
      assert.deepEqual(run.on(respond(180)), ['send']);
      assert.deepEqual(run.on(REQUEST), ['resend']);
      assert.equal(run.phase, 'proceeding');
    });

    it('MUST send 2xx and absorb INVITEs for 64·T1 (RFC 6026 §7.1)', () => {
      const run = inviteServer().after(REQUEST, respond(180));
      assert.deepEqual(run.on(respond(200)), ['send', 'L=32000']);
      assert.equal(run.phase, 'accepted');
    });

    it('MUST send 300 to 699, retransmit it, and wait for ACK', () => {
      const run = inviteServer().after(REQUEST);
      assert.deepEqual(run.on(respond(486)), ['send', 'G=500', 'H=32000']);
      assert.equal(run.phase, 'completed');
    });

    it('MUST NOT retransmit it over a reliable transport', () => {
      assert.deepEqual(inviteServer(true).after(REQUEST).on(respond(486)), ['send', 'H=32000']);
    });

    it('ignores ACK and timers that are not running', () => {
      const run = inviteServer().after(REQUEST);
      assert.deepEqual(run.on(ACK), []);
      assert.deepEqual(run.on(fires('G')), []);
    });
  });

  describe('Completed', () => {
    it('MUST retransmit at T1, doubling up to T2', () => {
      const run = inviteServer().after(REQUEST, respond(486));
      for (const next of [1000, 2000, 4000, 4000, 4000]) {
        assert.deepEqual(run.on(fires('G')), ['resend', `G=${next}`]);
      }
    });

    it('MUST repeat the response for a retransmitted INVITE, and ignore further responses', () => {
      const run = inviteServer().after(REQUEST, respond(486));
      assert.deepEqual(run.on(REQUEST), ['resend']);
      assert.deepEqual(run.on(respond(200)), []);
    });

    it('MUST tell the transaction user when no ACK came', () => {
      const run = inviteServer().after(REQUEST, respond(486));
      assert.deepEqual(run.on(fires('H')), ['stop G', 'timeout', 'terminated']);
    });

    it('MUST absorb further ACKs for T4', () => {
      const run = inviteServer().after(REQUEST, respond(486));
      assert.deepEqual(run.on(ACK), ['stop G', 'stop H', 'I=5000']);
      assert.equal(run.phase, 'confirmed');
      assert.deepEqual(run.on(ACK), []);
      assert.deepEqual(run.on(REQUEST), []);
      assert.deepEqual(run.on(fires('I')), ['terminated']);
    });

    it('ends with the ACK over a reliable transport, where Timer I is zero', () => {
      const run = inviteServer(true).after(REQUEST, respond(486));
      assert.deepEqual(run.on(ACK), ['stop G', 'stop H', 'terminated']);
    });
  });

  describe('Accepted (RFC 6026 §7.1)', () => {
    it('MUST absorb INVITEs, pass ACKs up, and send the 2xx that the transaction user repeats', () => {
      const run = inviteServer().after(REQUEST, respond(200));
      assert.deepEqual(run.on(REQUEST), []);
      assert.deepEqual(run.on(respond(200)), ['send']);
      assert.deepEqual(run.on(respond(486)), []);
      assert.deepEqual(run.on(ACK), ['pass']);
      assert.deepEqual(run.on(ACK), ['pass']);
      assert.deepEqual(run.on(fires('L')), ['terminated']);
    });
  });

  it('stays where it is when a response cannot be sent, and says so (RFC 6026 §8.8)', () => {
    for (const inputs of [[REQUEST], [REQUEST, respond(486)], [REQUEST, respond(200)]]) {
      const run = inviteServer().after(...inputs);
      const { phase } = run;
      assert.deepEqual(run.on(TRANSPORT_ERROR), ['transportFailed']);
      assert.equal(run.phase, phase);
    }
    assert.deepEqual(inviteServer().on(TRANSPORT_ERROR), []);
  });

  it('does nothing when it is over, or has not begun', () => {
    const over = inviteServer().after(REQUEST, respond(486), fires('H'));
    for (const input of [REQUEST, ACK, respond(200), fires('G'), TRANSPORT_ERROR])
      assert.deepEqual(over.on(input), []);
    assert.deepEqual(inviteServer().on(respond(200)), []);
  });
});

type NonInviteClientRun = Run<NonInviteClientState, NonInviteClientInput, 'E' | 'F' | 'K'>;
const nonInviteClient = (isReliable = false): NonInviteClientRun =>
  new Run(createNonInviteClient(TIMERS, isReliable), stepNonInviteClient);

describe('non-INVITE client transaction (RFC 3261 §17.1.2)', () => {
  it('MUST send the request and start Timers E and F', () => {
    assert.deepEqual(nonInviteClient().on(START), ['send', 'E=500', 'F=32000']);
    assert.deepEqual(nonInviteClient(true).on(START), ['send', 'F=32000']);
  });

  it('MUST retransmit in Trying at T1, doubling up to T2', () => {
    const run = nonInviteClient().after(START);
    for (const next of [1000, 2000, 4000, 4000]) {
      assert.deepEqual(run.on(fires('E')), ['resend', `E=${next}`]);
    }
  });

  it('MUST go on retransmitting in Proceeding, every T2', () => {
    const run = nonInviteClient().after(START);
    assert.deepEqual(run.on(response(100)), ['pass']);
    assert.equal(run.phase, 'proceeding');
    assert.deepEqual(run.on(fires('E')), ['resend', 'E=4000']);
    assert.deepEqual(run.on(response(100)), ['pass']);
  });

  for (const inputs of [[START], [START, response(100)]]) {
    const phase = inputs.length === 1 ? 'Trying' : 'Proceeding';

    for (const status of [200, 302, 481, 503, 603]) {
      it(`MUST pass ${status} up in ${phase} and absorb its retransmissions for T4`, () => {
        const run = nonInviteClient().after(...inputs);
        assert.deepEqual(run.on(response(status)), ['stop E', 'stop F', 'pass', 'K=5000']);
        assert.deepEqual(run.on(response(status)), []);
        assert.deepEqual(run.on(TRANSPORT_ERROR), []);
        assert.deepEqual(run.on(fires('K')), ['terminated']);
      });
    }

    it(`ends with the response in ${phase} over a reliable transport, where Timer K is zero`, () => {
      const run = nonInviteClient(true).after(...inputs);
      assert.deepEqual(run.on(response(200)), ['stop E', 'stop F', 'pass', 'terminated']);
    });

    it(`MUST tell the transaction user of a timeout or transport error in ${phase}`, () => {
      assert.deepEqual(
        nonInviteClient()
          .after(...inputs)
          .on(fires('F')),
        ['stop E', 'timeout', 'terminated'],
      );
      assert.deepEqual(
        nonInviteClient()
          .after(...inputs)
          .on(TRANSPORT_ERROR),
        ['stop E', 'stop F', 'transportFailed', 'terminated'],
      );
    });
  }

  it('does nothing when it is over, or has not begun', () => {
    const over = nonInviteClient().after(START, fires('F'));
    for (const input of [START, response(200), fires('E'), TRANSPORT_ERROR])
      assert.deepEqual(over.on(input), []);
    assert.deepEqual(nonInviteClient().on(response(200)), []);
  });
});

type NonInviteServerRun = Run<NonInviteServerState, NonInviteServerInput, 'J' | 'trying'>;
const nonInviteServer = (isReliable = false): NonInviteServerRun =>
  new Run(createNonInviteServer(TIMERS, isReliable), stepNonInviteServer);

describe('non-INVITE server transaction (RFC 3261 §17.2.2, RFC 4320)', () => {
  it('MUST pass the request up', () => {
    assert.deepEqual(nonInviteServer().on(REQUEST), ['pass', 'trying=3500']);
  });

  it('MUST discard retransmissions in Trying', () => {
    assert.deepEqual(nonInviteServer().after(REQUEST).on(REQUEST), []);
  });

  it('MUST send 100 when Timer E of the client has reached T2 (RFC 4320 §4.1), and repeat it', () => {
    const run = nonInviteServer().after(REQUEST);
    assert.deepEqual(run.on(fires('trying')), ['sendTrying']);
    assert.equal(run.phase, 'proceeding');
    assert.deepEqual(run.on(REQUEST), ['resend']);
  });

  it('MUST NOT send 100 earlier over an unreliable transport (RFC 4320 §4.1)', () => {
    assert.deepEqual(nonInviteServer().after(REQUEST).on(respond(100)), []);
    assert.deepEqual(nonInviteServer(true).after(REQUEST).on(respond(100)), [
      'stop trying',
      'send',
    ]);
    assert.deepEqual(nonInviteServer().after(REQUEST, fires('trying')).on(respond(100)), [
      'stop trying',
      'send',
    ]);
  });

  it('MUST NOT send any other provisional response (RFC 4320 §4.1)', () => {
    for (const isReliable of [false, true]) {
      const run = nonInviteServer(isReliable).after(REQUEST);
      assert.deepEqual(run.on(respond(183)), []);
      assert.equal(run.phase, 'trying');
    }
  });

  for (const inputs of [[REQUEST], [REQUEST, fires('trying')]]) {
    const phase = inputs.length === 1 ? 'Trying' : 'Proceeding';

    it(`MUST send the final response in ${phase}, repeat it for retransmissions, and end with Timer J`, () => {
      const run = nonInviteServer().after(...inputs);
      assert.deepEqual(run.on(respond(200)), ['stop trying', 'send', 'J=32000']);
      assert.deepEqual(run.on(REQUEST), ['resend']);
      assert.deepEqual(run.on(respond(500)), []);
      assert.deepEqual(run.on(fires('J')), ['terminated']);
    });

    it(`ends with the response in ${phase} over a reliable transport, where Timer J is zero`, () => {
      const run = nonInviteServer(true).after(...inputs);
      assert.deepEqual(run.on(respond(404)), ['stop trying', 'send', 'terminated']);
    });

    it(`MUST NOT send 408 in ${phase} (RFC 4320 §4.2)`, () => {
      const run = nonInviteServer().after(...inputs);
      assert.deepEqual(run.on(respond(408)), ['stop trying', 'terminated']);
    });
  }

  it('stays where it is when a response cannot be sent, and says so (RFC 6026 §8.8)', () => {
    const run = nonInviteServer().after(REQUEST, respond(200));
    assert.deepEqual(run.on(TRANSPORT_ERROR), ['transportFailed']);
    assert.equal(run.phase, 'completed');
  });

  it('does nothing when it is over, or has not begun', () => {
    const over = nonInviteServer().after(REQUEST, respond(408));
    for (const input of [REQUEST, respond(200), fires('J'), TRANSPORT_ERROR])
      assert.deepEqual(over.on(input), []);
    for (const input of [respond(200), fires('J'), TRANSPORT_ERROR])
      assert.deepEqual(nonInviteServer().on(input), []);
  });
});
