import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ProtocolError, RefusedError } from '../../../../../core/errors.ts';
import { SipUri } from '../../../../../core/sip/uri.ts';
import type { Binding } from '../../../../../registrar/app/location/location.ts';
import {
  updateBindings,
  type RegisteredContact,
  type RegisterRequest,
  type RegistrationPolicy,
} from '../../../../../registrar/app/location/update-bindings.ts';

const POLICY: RegistrationPolicy = {
  minExpiresSeconds: 60,
  defaultExpiresSeconds: 3600,
  maxExpiresSeconds: 7200,
  maxBindingsPerAccount: 3,
};
const NOW = 1_000_000;

function contact(uri: string, more: Partial<RegisteredContact> = {}): RegisteredContact {
  const base = { parameters: '', expiresSeconds: undefined, q: 1 };
  return { uri: SipUri.parse(uri), ...base, instanceId: undefined, regId: undefined, ...more };
}

function register(more: Partial<RegisterRequest> = {}): RegisterRequest {
  return {
    nickname: 'alice',
    contacts: [],
    expiresSeconds: undefined,
    callId: 'c1',
    cseq: 1,
    userAgent: 'phone',
    sourceAddress: '192.0.2.1',
    sourcePort: 5062,
    transport: 'udp',
    ...more,
  };
}

const uris = (bindings: readonly Binding[]): string[] =>
  bindings.map(({ contactUri }) => contactUri);
const statusOf = (act: () => unknown): number => {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof ProtocolError || error instanceof RefusedError, String(error));
    return error.sipStatus;
  }
  return 200;
};
const after = (
  before: readonly Binding[],
  request: Partial<RegisterRequest>,
  nowMs = NOW,
): ReturnType<typeof updateBindings> => updateBindings(before, register(request), POLICY, nowMs);

describe('bindings (RFC 3261 section 10.3)', () => {
  const A = 'sip:alice-0x55@192.0.2.1:51549;transport=udp;x=1';
  const B = 'sip:alice@192.0.2.2';

  it('keeps a Contact as it was written, with where it came from', () => {
    const { bindings, changes } = after([], { contacts: [contact(A, { parameters: ';x="y"' })] });
    const [binding] = bindings;
    assert.ok(binding);
    assert.equal(binding.contactUri, A);
    assert.equal(binding.contactParameters, ';x="y"');
    assert.equal(binding.sourcePort, 5062);
    assert.equal(binding.expiresAtMs, NOW + 3600_000);
    assert.ok(Object.isFrozen(binding));
    assert.deepEqual(
      changes.map(({ kind }) => kind),
      ['added'],
    );
  });

  it('takes the lifetime from the Contact, else the header, else the policy, up to its maximum', () => {
    const lifetimes = [
      [contact(A, { expiresSeconds: 100 }), 200, 100],
      [contact(A), 200, 200],
      [contact(A), undefined, 3600],
      [contact(A, { expiresSeconds: 1_000_000 }), undefined, 7200],
    ] as const;
    for (const [one, expiresSeconds, expected] of lifetimes) {
      const { bindings } = after([], { contacts: [one], expiresSeconds });
      assert.equal(bindings[0]?.expiresAtMs, NOW + expected * 1000);
    }
  });

  it('refuses a lifetime that is too short with 423, and then applies nothing', () => {
    const contacts = [contact(B), contact(A, { expiresSeconds: 59 })];
    assert.equal(
      statusOf(() => after([], { contacts })),
      423,
    );
  });

  it('refreshes the same URI instead of adding it, comparing as section 19.1.4 says', () => {
    const first = after([], { contacts: [contact('sip:alice@Host.Example;transport=udp')] });
    const second = after(first.bindings, {
      cseq: 2,
      contacts: [contact('sip:%61lice@host.example;TRANSPORT=UDP')],
    });
    assert.equal(second.bindings.length, 1);
    assert.deepEqual(
      second.changes.map(({ kind }) => kind),
      ['refreshed'],
    );
  });

  it('keeps several devices, highest q first, then the newest', () => {
    let { bindings } = after([], { contacts: [contact(A, { q: 0.5 })] });
    ({ bindings } = after(bindings, { callId: 'c2', contacts: [contact(B)] }, NOW + 1));
    ({ bindings } = after(bindings, { callId: 'c3', contacts: [contact('sip:c@h')] }, NOW + 2));
    assert.deepEqual(uris(bindings), ['sip:c@h', B, A]);
  });

  it('makes room for a new device beyond the maximum', () => {
    let bindings: readonly Binding[] = [];
    for (let i = 0; i < 5; i++) {
      const contacts = [contact(`sip:d${i}@h`)];
      ({ bindings } = after(bindings, { callId: `c${i}`, contacts }, NOW + i));
    }
    assert.deepEqual(uris(bindings), ['sip:d4@h', 'sip:d3@h', 'sip:d2@h']);
  });

  it('removes one by expires=0, and does not mind when it was not there', () => {
    const before = after([], { contacts: [contact(A), contact(B)] }).bindings;
    const off = after(before, { cseq: 2, contacts: [contact(A, { expiresSeconds: 0 })] });
    assert.deepEqual(uris(off.bindings), [B]);
    const again = after(off.bindings, { cseq: 3, contacts: [contact(A)], expiresSeconds: 0 });
    assert.deepEqual(uris(again.bindings), [B]);
    assert.deepEqual(again.changes, []);
  });

  it('removes all by *, only with Expires: 0', () => {
    const before = after([], { contacts: [contact(A), contact(B)] }).bindings;
    const all = after(before, { cseq: 2, contacts: '*', expiresSeconds: 0 });
    assert.deepEqual(all.bindings, []);
    assert.equal(all.changes.length, 2);
    assert.equal(
      statusOf(() => after(before, { cseq: 2, contacts: '*' })),
      400,
    );
    assert.equal(
      statusOf(() => after(before, { cseq: 2, contacts: '*', expiresSeconds: 5 })),
      400,
    );
  });

  it('lets no older REGISTER of the same Call-ID undo a later one', () => {
    const before = after([], { cseq: 7, contacts: [contact(A)] }).bindings;
    const gone = [contact(A, { expiresSeconds: 0 })];
    assert.equal(
      statusOf(() => after(before, { cseq: 6, contacts: gone })),
      500,
    );
    assert.equal(
      statusOf(() => after(before, { cseq: 7, contacts: gone })),
      500,
    );
    assert.equal(
      statusOf(() => after(before, { cseq: 6, contacts: '*', expiresSeconds: 0 })),
      500,
    );
    assert.equal(
      statusOf(() => after(before, { cseq: 1, callId: 'other', contacts: gone })),
      200,
    );
  });

  it('changes nothing for a question', () => {
    const before = after([], { contacts: [contact(A)] }).bindings;
    const { bindings, changes } = after(before, { cseq: 2 });
    assert.deepEqual(bindings, before);
    assert.deepEqual(changes, []);
  });

  it('drops what has expired', () => {
    const before = after([], { contacts: [contact(A)] }).bindings;
    const { bindings, changes } = after(before, { cseq: 2 }, NOW + 3600_000);
    assert.deepEqual(bindings, []);
    assert.deepEqual(
      changes.map((change) => change.kind === 'removed' && change.reason),
      ['expired'],
    );
  });

  describe('instances (RFC 5626 section 6)', () => {
    const instanceId = '<urn:uuid:0>';

    it('replaces by instance and reg-id, whatever the URI', () => {
      const one = contact(A, { instanceId, regId: 1 });
      const two = contact(B, { instanceId, regId: 2 });
      const before = after([], { contacts: [one, two] }).bindings;
      assert.equal(before.length, 2);
      const moved = contact('sip:alice@192.0.2.9', { instanceId, regId: 1 });
      const { bindings, changes } = after(before, { callId: 'c2', contacts: [moved] });
      assert.deepEqual(uris(bindings).sort(), [B, 'sip:alice@192.0.2.9'].sort());
      assert.deepEqual(
        changes.map(({ kind }) => kind),
        ['refreshed'],
      );
    });

    it('forgets the earlier life of a device that restarted, but not its second line', () => {
      const before = after([], { contacts: [contact(A, { instanceId })] }).bindings;
      const restarted = after(before, { callId: 'c2', contacts: [contact(B, { instanceId })] });
      assert.deepEqual(uris(restarted.bindings), [B]);
      const line = after(before, { callId: 'c1', cseq: 2, contacts: [contact(B, { instanceId })] });
      assert.equal(line.bindings.length, 2);
    });
  });

  it('never yields two bindings with one URI, nor more than allowed, and never changes its input', () => {
    const step = fc.record({
      user: fc.constantFrom('a', 'b', 'c', 'd'),
      regId: fc.option(fc.constantFrom(1, 2), { nil: undefined }),
      instanceId: fc.option(fc.constantFrom('<i>', '<j>'), { nil: undefined }),
      expiresSeconds: fc.constantFrom(0, 60, 3600),
      callId: fc.constantFrom('x', 'y'),
      passMs: fc.integer({ min: 0, max: 100_000 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        let bindings: readonly Binding[] = [];
        let nowMs = NOW;
        steps.forEach(({ user, regId, instanceId, expiresSeconds, callId, passMs }, index) => {
          nowMs += passMs;
          const before = JSON.stringify(bindings);
          const one = contact(`sip:${user}@h`, { regId, instanceId, expiresSeconds });
          const previous = bindings;
          bindings = after(previous, { callId, cseq: index + 1, contacts: [one] }, nowMs).bindings;
          assert.equal(JSON.stringify(previous), before);
          const keys = bindings.map((b) =>
            b.regId === undefined ? b.contactUri : `${b.instanceId ?? ''};${b.regId}`,
          );
          assert.equal(new Set(keys).size, keys.length);
          assert.ok(bindings.length <= POLICY.maxBindingsPerAccount);
          assert.ok(bindings.every(({ expiresAtMs }) => expiresAtMs > nowMs));
        });
      }),
      { seed: 42, numRuns: 200 },
    );
  });
});
