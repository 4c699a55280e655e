import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ParseError } from '../../../../core/errors.ts';
import { Roster } from '../../../../softphone/ua/roster.ts';

type User = { readonly id: string; readonly state?: string; readonly content?: string };

function conference(
  state: string,
  version: number,
  users: readonly User[],
  usersState = state,
): string {
  const elements = users
    .map(
      ({ id, state: own = 'full', content = '' }) =>
        `<user entity="sip:${id}@x" state="${own}">${content}</user>`,
    )
    .join('');
  return `<?xml version="1.0"?><conference-info xmlns="urn:ietf:params:xml:ns:conference-info" entity="sip:lobby@x" state="${state}" version="${version}"><users state="${usersState}">${elements}</users></conference-info>`;
}

function names(roster: Roster): string[] {
  return roster.participants.map(({ nickname }) => nickname);
}

const endpoint = (status: string, direction: string): string =>
  `<endpoint entity="e1"><status>${status}</status><media id="1"><type>audio</type><status>${direction}</status></media></endpoint>`;

describe('the roster of a room (RFC 4575)', () => {
  it('takes a full state, with names, status and who is muted', () => {
    const roster = new Roster();
    const result = roster.apply(
      conference('full', 1, [
        {
          id: 'anna',
          content: `<display-text>Anna Berg</display-text>${endpoint('connected', 'sendrecv')}`,
        },
        { id: 'bj%C3%B8rn', content: endpoint('on-hold', 'recvonly') },
      ]),
    );
    assert.deepEqual(roster.participants, [
      {
        entity: 'sip:anna@x',
        nickname: 'anna',
        name: 'Anna Berg',
        status: 'connected',
        isMuted: false,
      },
      {
        entity: 'sip:bj%C3%B8rn@x',
        nickname: 'bjørn',
        name: 'bjørn',
        status: 'on-hold',
        isMuted: true,
      },
    ]);
    assert.equal(result.kind === 'changed' && result.change.joined.length, 2);
  });

  it('MUST add, change and remove by partial states', () => {
    const roster = new Roster();
    roster.apply(
      conference('full', 1, [
        { id: 'anna', content: '<display-text>Anna</display-text>' },
        { id: 'bob' },
      ]),
    );
    const result = roster.apply(
      conference('partial', 2, [
        { id: 'clara' },
        { id: 'anna', state: 'partial', content: endpoint('on-hold', 'inactive') },
        { id: 'bob', state: 'deleted' },
      ]),
    );
    assert.ok(result.kind === 'changed');
    assert.deepEqual(
      result.change.joined.map(({ nickname }) => nickname),
      ['clara'],
    );
    assert.deepEqual(
      result.change.left.map(({ nickname }) => nickname),
      ['bob'],
    );
    assert.deepEqual(
      result.change.changed.map(({ name, status }) => [name, status]),
      [['Anna', 'on-hold']],
    );
    assert.deepEqual(names(roster), ['anna', 'clara']);
  });

  it('MUST replace everybody by a full list in a partial state', () => {
    const roster = new Roster();
    roster.apply(conference('full', 1, [{ id: 'anna' }, { id: 'bob' }]));
    roster.apply(conference('partial', 2, [{ id: 'bob' }], 'full'));
    assert.deepEqual(names(roster), ['bob']);
  });

  it('MUST notice that a document was missed, and wait for the full state', () => {
    const roster = new Roster();
    assert.equal(roster.apply(conference('partial', 5, [])).kind, 'gap');
    roster.apply(conference('full', 1, [{ id: 'anna' }]));
    assert.equal(roster.apply(conference('partial', 3, [{ id: 'bob' }])).kind, 'gap');
    assert.deepEqual(names(roster), ['anna']);
    assert.equal(roster.apply(conference('full', 4, [{ id: 'bob' }])).kind, 'changed');
    assert.equal(roster.apply(conference('partial', 5, [{ id: 'clara' }])).kind, 'changed');
    assert.deepEqual(names(roster), ['bob', 'clara']);
  });

  it('MUST ignore what it has seen already', () => {
    const roster = new Roster();
    roster.apply(conference('full', 7, [{ id: 'anna' }]));
    assert.equal(roster.apply(conference('full', 7, [])).kind, 'old');
    assert.equal(
      roster.apply(conference('partial', 6, [{ id: 'anna', state: 'deleted' }])).kind,
      'old',
    );
    assert.deepEqual(names(roster), ['anna']);
  });

  it('tells what changed over an interruption, not that everybody came', () => {
    const roster = new Roster();
    roster.apply(conference('full', 9, [{ id: 'anna' }, { id: 'bob' }]));
    roster.expectFullState();
    const result = roster.apply(conference('full', 1, [{ id: 'bob' }, { id: 'clara' }]));
    assert.ok(result.kind === 'changed');
    assert.deepEqual(
      result.change.joined.map(({ nickname }) => nickname),
      ['clara'],
    );
    assert.deepEqual(
      result.change.left.map(({ nickname }) => nickname),
      ['anna'],
    );
  });

  it('knows when the room itself has ended', () => {
    const roster = new Roster();
    roster.apply(conference('full', 1, [{ id: 'anna' }]));
    assert.equal(roster.apply(conference('deleted', 2, [])).kind, 'ended');
  });

  it('MUST refuse what is no roster, with a ParseError and nothing else', () => {
    for (const document of [
      '',
      '<a/>',
      '<conference-info version="-1"/>',
      '<conference-info version="x"/>',
    ]) {
      assert.throws(() => new Roster().apply(document), ParseError);
    }
    fc.assert(
      fc.property(fc.string(), fc.nat(400), (text, at) => {
        const good = conference('full', 1, [
          { id: 'anna', content: '<display-text>A</display-text>' },
        ]);
        try {
          new Roster().apply(good.slice(0, at) + text + good.slice(at + text.length));
        } catch (error) {
          assert.ok(error instanceof ParseError);
        }
      }),
      { seed: 4575, numRuns: 500 },
    );
  });
});
