import assert from 'node:assert/strict';
import { nextMaxForwards, identityOf } from '../../../../../registrar/app/calls/identity.ts';
import { transferHeaders } from '../../../../../registrar/app/calls/pass-on.ts';
import { createDomain } from '../../../../../registrar/app/domain.ts';

const domain = createDomain({ name: 'example.net', aliases: () => new Set(['192.0.2.7']) });

function transfer(value: string | undefined): Record<string, string> | undefined {
  const request = { get: (name: string) => (name === 'Refer-To' ? value : undefined) };
  return transferHeaders(request, { domain, sender: 'alice' });
}

describe('the headers of a transfer', () => {
  const table: [written: string, passed: string][] = [
    ['sip:carol@192.0.2.7:5070;transport=tcp', '<sip:carol@example.net>'],
    ['<sip:carol@example.net>', '<sip:carol@example.net>'],
    ['"Carol" <sip:%23turbo@localhost>', '"Carol" <sip:%23turbo@example.net>'],
    [
      '<sip:carol@192.0.2.7;method=INVITE?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2>',
      '<sip:carol@example.net;method=INVITE?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2>',
    ],
    ['<sip:dave@elsewhere.org;transport=tls>', '<sip:dave@elsewhere.org;transport=tls>'],
    ['<tel:+123>', '<tel:+123>'],
  ];
  for (const [written, passed] of table) {
    it(`make ${written} into ${passed}`, () => {
      assert.deepEqual(transfer(written), {
        'Refer-To': passed,
        'Referred-By': '<sip:alice@example.net>',
      });
    });
  }

  it('are none without a target that can be read', () => {
    for (const written of [undefined, '<sip:a', '"x <sip:a@b>', 'sip:a@b, sip:c@d']) {
      assert.equal(transfer(written), undefined);
    }
  });
});

describe('what a person is shown as', () => {
  const account = { nickname: 'zoe', spelling: 'Zoe', displayName: '', createdAtMs: 0 };

  it('is the real name, else the nickname as written', () => {
    assert.equal(identityOf(account, 'sip:zoe@d'), '"Zoe" <sip:zoe@d>');
    const named = { ...account, displayName: 'Zoë "Z" \\' };
    assert.equal(identityOf(named, 'sip:zoe@d'), '"Zoë \\"Z\\" \\\\" <sip:zoe@d>');
    assert.equal(identityOf(undefined, 'sip:zoe@d'), '<sip:zoe@d>');
  });
});

describe('Max-Forwards of the next hop', () => {
  const table: [written: string | undefined, next: string][] = [
    ['70', '69'],
    ['1', '0'],
    ['0', '0'],
    ['255', '70'],
    [undefined, '69'],
    ['nonsense', '69'],
  ];
  for (const [written, next] of table) {
    it(`after ${written ?? 'none'} is ${next}`, () => {
      assert.equal(nextMaxForwards({ get: () => written }), next);
    });
  }
});
