import assert from 'node:assert/strict';
import { RoomDirectory, userPartOf } from '../../../../../registrar/app/rooms/room-directory.ts';

const directory = new RoomDirectory({
  list: [
    { name: 'Lobby', number: '1000', title: 'The lobby', capacity: 3 },
    { name: 'chess', title: '', capacity: 2 },
  ],
  allowNew: true,
  maxRooms: 10,
  newRoomCapacity: 5,
});

describe('room directory', () => {
  for (const written of ['lobby', 'LOBBY', '%23lobby', '#Lobby', '%23Lobby', '1000']) {
    it(`${written} is the configured lobby`, () => {
      const room = directory.find(written);
      assert.equal(room?.name, 'lobby');
      assert.equal(room.title, 'The lobby');
      assert.equal(room.capacity, 3);
      assert.equal(userPartOf(room), 'lobby');
    });
  }

  it('%23name names a room that is not configured, and keeps its # in the URI', () => {
    const room = directory.find('%23Turbo');
    assert.deepEqual(room, { name: 'turbo', title: '#turbo', capacity: 5, isPermanent: false });
    assert.equal(userPartOf(room), '#turbo');
  });

  for (const written of ['alice', '10000', '%23', '#', '%23a%20b', '%', '%23%zz']) {
    it(`${written} is no room`, () => {
      assert.equal(directory.find(written), undefined);
    });
  }

  it('holds its names and numbers against accounts, but not names of rooms that may be made', () => {
    assert.ok(directory.holds('lobby') && directory.holds('chess') && directory.holds('1000'));
    assert.ok(!directory.holds('turbo'));
  });
});
