import assert from 'node:assert/strict';
import { fromRoom, isNotice, textWithName } from '../../../../../registrar/app/rooms/room-text.ts';

const BOB = { nickname: 'bob', spelling: 'Bob', displayName: '', createdAtMs: 0 };
const EVE = { ...BOB, nickname: 'eve', spelling: 'eve', displayName: 'Eve "E" Adams' };

describe('text in a room', () => {
  it('carries the room as its sender, under the name of who wrote it', () => {
    assert.equal(fromRoom(BOB, 'sip:lobby@a.test'), '"Bob" <sip:lobby@a.test>');
    assert.equal(fromRoom(EVE, 'sip:lobby@a.test'), '"Eve \\"E\\" Adams" <sip:lobby@a.test>');
  });

  it('gets the name before it when it is plain text', () => {
    const plain = { contentType: 'Text/Plain; charset=utf-8', encoding: undefined };
    assert.equal(textWithName('hæ', BOB, plain), 'Bob: hæ');
    const absent = { contentType: undefined, encoding: undefined };
    assert.equal(textWithName('hi', EVE, absent), 'Eve "E" Adams: hi');
  });

  it('is left alone when it is encoded or no text', () => {
    const deflated = { contentType: 'text/plain', encoding: 'deflate' };
    assert.equal(textWithName('x', BOB, deflated), 'x');
    const html = { contentType: 'text/html', encoding: undefined };
    assert.equal(textWithName('<b>', BOB, html), '<b>');
  });

  it('receipts and typing notices are not for a room', () => {
    assert.ok(isNotice('message/imdn+xml'));
    assert.ok(isNotice('Application/IM-iscomposing+xml; charset=utf-8'));
    assert.ok(!isNotice('text/plain'));
    assert.ok(!isNotice(undefined));
  });
});
