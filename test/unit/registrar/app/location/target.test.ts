import assert from 'node:assert/strict';
import {
  devicesOf,
  forgetWhenGone,
  isFlowFailure,
} from '../../../../../registrar/app/location/target.ts';
import type { Binding } from '../../../../../registrar/app/location/location.ts';

const binding = (contactUri: string, instanceId?: string, regId?: number): Binding =>
  ({ contactUri, instanceId, regId }) as Binding;

describe('the devices of a person', () => {
  it('are told apart by instance, else by Contact, and keep their order', () => {
    const [a1, b, a2, c, a3] = [
      binding('sip:a@1', '<urn:uuid:a>', 1),
      binding('sip:b@2'),
      binding('sip:a@3', '<urn:uuid:a>', 2),
      binding('sip:c@4', '<urn:uuid:c>', 1),
      binding('sip:a@5', '<urn:uuid:a>'),
    ] as const;
    assert.deepEqual(devicesOf([a1, b, a2, c, a3]), [[a1, a2, a3], [b], [c]]);
    assert.deepEqual(devicesOf([]), []);
  });

  it('are not mixed up by an instance that looks like a Contact', () => {
    const bindings = [binding('sip:a@1'), binding('sip:a@2', 'sip:a@1')];
    assert.equal(devicesOf(bindings).length, 2);
  });

  for (const [status, isUnreachable, isFailure] of [
    [430, false, true],
    [408, false, true],
    [410, true, true],
    [503, true, true],
    [503, false, false],
    [410, false, false],
    [486, false, false],
    [603, false, false],
  ] as const) {
    const who = isUnreachable ? 'the engine' : 'the device';
    it(`${isFailure ? 'may' : 'may not'} be tried by another flow after ${status} of ${who}`, () => {
      assert.equal(isFlowFailure({ status, isUnreachable }), isFailure);
    });
  }

  it('are forgotten when the only way to them is closed, and by nothing that may pass', () => {
    const gone = (status: number, isUnreachable: boolean): boolean => {
      const forgotten: Binding[] = [];
      const location = { forget: (lost: Binding) => forgotten.push(lost) };
      forgetWhenGone(location, binding('sip:a@1'), { status, isUnreachable });
      return forgotten.length === 1;
    };
    assert.ok(gone(430, true) && gone(410, true));
    assert.ok(gone(430, false), 'a proxy says it');
    for (const status of [408, 503]) assert.ok(!gone(status, true), String(status));
    for (const status of [408, 410, 480, 486, 503]) assert.ok(!gone(status, false), String(status));
  });
});
