import assert from 'node:assert/strict';
import { RefusedError } from '../../../../core/errors.ts';
import { createDomain } from '../../../../registrar/app/domain.ts';
import { canonicalName, canonicalRoomName, Names } from '../../../../registrar/app/names.ts';

describe('names', () => {
  const cases: readonly (readonly [written: string, canonical: string | undefined])[] = [
    ['alice', 'alice'],
    ['Alice', 'alice'],
    ['ALICE.b-c_d', 'alice.b-c_d'],
    ['Zo%C3%AB', 'zoë'],
    ['Zoe\u0308', 'zoë'],
    ['ÅSE', 'åse'],
    ['al%69ce', 'alice'],
    ["o'neil+x&y=z$", "o'neil+x&y=z$"],
    ['日本', '日本'],
    ['x'.repeat(32), 'x'.repeat(32)],
    ['😀'.repeat(32), '😀'.repeat(32)],
    ['x'.repeat(33), undefined],
    ['', undefined],
    ['a b', undefined],
    ['a%20b', undefined],
    ['a"b', undefined],
    ['a%22b', undefined],
    ['a#b', undefined],
    ['a%23b', undefined],
    ['a%00b', undefined],
    ['a%0D%0Ab', undefined],
    ['a\tb', undefined],
    ['a@b', undefined],
    ['a<b', undefined],
    ['a\u200bb', undefined],
    ['a\u202eb', undefined],
    ['a%ZZ', undefined],
    ['a%C3', undefined],
    ['a\ud800', undefined],
  ];
  for (const [written, canonical] of cases) {
    it(`${JSON.stringify(written)} -> ${canonical ?? 'refused'}`, () => {
      assert.equal(canonicalName(written), canonical);
    });
  }

  it('reads the names of rooms with their #', () => {
    assert.equal(canonicalRoomName('%23Turbo'), 'turbo');
    assert.equal(canonicalRoomName('#Turbo'), 'turbo');
    assert.equal(canonicalRoomName('turbo'), undefined);
    assert.equal(canonicalRoomName('%23'), undefined);
    assert.equal(canonicalRoomName('%23a%20b'), undefined);
  });

  it('gives no name twice, whoever holds it', () => {
    const names = new Names();
    names.addSource('account', (name) => name === 'alice');
    names.addSource('room', (name) => name === 'lobby');
    const codeOf = (written: string): string => {
      try {
        return names.claim(written);
      } catch (error) {
        assert.ok(error instanceof RefusedError);
        return error.code;
      }
    };
    assert.equal(codeOf('Bob'), 'bob');
    assert.equal(codeOf('ALICE'), 'name.taken');
    assert.equal(codeOf('Lobby'), 'name.taken');
    assert.equal(codeOf('a b'), 'name.malformed');
    assert.equal(names.holderOf('lobby'), 'room');
    assert.equal(names.holderOf('bob'), undefined);
  });
});

describe('domain', () => {
  const domain = createDomain({
    name: 'Example.ORG',
    aliases: () => new Set(['pbx', '192.0.2.7', '2001:db8::7']),
  });

  it('has one name', () => {
    assert.equal(domain.name, 'example.org');
    assert.equal(domain.uriOf('zoë'), 'sip:zo%C3%AB@example.org');
  });

  it('knows itself by every name and address of the machine', () => {
    const ours = [
      'example.org',
      'EXAMPLE.org',
      'pbx',
      'localhost',
      '127.0.0.1',
      '127.0.1.1',
      '::1',
    ];
    ours.push('192.0.2.7', '2001:db8::7', '[2001:db8::7]', '[::1]', 'example.org.');
    for (const host of ours) assert.ok(domain.isLocal(host), host);
    for (const host of ['example.com', '192.0.2.8', '2001:db8::8', 'sub.example.org', '']) {
      assert.ok(!domain.isLocal(host), host);
    }
  });

  it('finds the user of a URI of ours', () => {
    const users: readonly (readonly [uri: string, user: string | undefined])[] = [
      ['sip:Alice@example.org', 'alice'],
      ['sip:alice@192.0.2.7:5070;transport=tcp', 'alice'],
      ['sips:alice@[2001:db8::7]', 'alice'],
      ['sip:alice:secret@localhost', 'alice'],
      ['sip:1000;phone-context=x@localhost', '1000'],
      ['sip:alice@elsewhere.net', undefined],
      ['sip:example.org', undefined],
      ['tel:+4512345678', undefined],
      ['sip:%23turbo@example.org', undefined],
      ['nonsense', undefined],
      ['', undefined],
    ];
    for (const [uri, user] of users) assert.equal(domain.userOf(uri), user, uri);
    assert.equal(domain.rawUserOf('sip:%23Turbo@example.org:5060'), '%23Turbo');
  });
});
