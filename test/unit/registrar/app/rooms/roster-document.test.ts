import assert from 'node:assert/strict';
import { parseXml, type XmlElement } from '../../../../../core/xml.ts';
import {
  fullRoster,
  partialRoster,
  type Roster,
} from '../../../../../registrar/app/rooms/roster-document.ts';

const ROSTER: Roster = {
  title: '#lobby',
  users: [
    {
      nickname: 'bob',
      displayName: 'Bob <& "friends">',
      endpoints: [
        { id: '1', direction: 'sendrecv' },
        { id: '2', direction: 'inactive' },
      ],
    },
    { nickname: 'eve', displayName: 'Eve', endpoints: [{ id: '3', direction: 'sendonly' }] },
  ],
};

function view(version: number): Parameters<typeof fullRoster>[1] {
  return {
    entity: 'sip:lobby@127.0.0.1',
    uriOf: (nickname) => `sip:${nickname}@127.0.0.1`,
    version,
  };
}

function child(element: XmlElement, name: string): XmlElement {
  const found = element.children.find((candidate) => candidate.name === name);
  assert.ok(found, `<${element.name}> has no <${name}>`);
  return found;
}

describe('roster of a room (RFC 4575)', () => {
  it('full state names everybody with every endpoint, whatever is in the display name', () => {
    const document = fullRoster(ROSTER, view(1));
    assert.match(document, /<conference-info xmlns="urn:ietf:params:xml:ns:conference-info" /);
    const root = parseXml(document);
    assert.equal(root.name, 'conference-info');
    assert.deepEqual(Object.fromEntries(root.attributes), {
      entity: 'sip:lobby@127.0.0.1',
      state: 'full',
      version: '1',
    });
    assert.equal(child(child(root, 'conference-state'), 'user-count').text, '2');
    const users = child(root, 'users').children;
    assert.deepEqual(
      users.map((user) => [user.attributes.get('entity'), child(user, 'display-text').text]),
      [
        ['sip:bob@127.0.0.1', 'Bob <& "friends">'],
        ['sip:eve@127.0.0.1', 'Eve'],
      ],
    );
    const statuses = users[0]?.children
      .filter(({ name }) => name === 'endpoint')
      .map((endpoint) => child(endpoint, 'status').text);
    assert.deepEqual(statuses, ['connected', 'on-hold']);
  });

  it('partial state has only those who changed, and says who is gone', () => {
    const root = parseXml(partialRoster(ROSTER, new Set(['eve', 'tom']), view(7)));
    assert.equal(root.attributes.get('state'), 'partial');
    assert.equal(root.attributes.get('version'), '7');
    const users = child(root, 'users');
    assert.equal(users.attributes.get('state'), 'partial');
    assert.deepEqual(
      users.children.map(({ attributes }) => [attributes.get('entity'), attributes.get('state')]),
      [
        ['sip:eve@127.0.0.1', 'full'],
        ['sip:tom@127.0.0.1', 'deleted'],
      ],
    );
  });
});
