import assert from 'node:assert/strict';
import { devicesOf, isFlowFailure } from '../../../../../registrar/app/location/target.ts';
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
});
