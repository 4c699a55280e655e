import assert from 'node:assert/strict';
import { RemoteSource } from '../../../../softphone/audio/remote-source.ts';

const PROMISED = { address: '192.0.2.1', port: 4000 };
const NAT = { address: '198.51.100.7', port: 61_000 };
const STRANGER = { address: '203.0.113.9', port: 5555 };

describe('where the media of a call come from (RFC 4961)', () => {
  it('sends where SDP says before anything has come', () => {
    const remote = new RemoteSource();
    remote.expect(PROMISED.address, PROMISED.port);
    assert.deepEqual(remote.target, PROMISED);
  });

  it('MUST accept the promised source, and nobody beside it', () => {
    const remote = new RemoteSource();
    remote.expect(PROMISED.address, PROMISED.port);
    assert.equal(remote.accepts(PROMISED), true);
    assert.equal(remote.accepts(STRANGER), false);
    assert.deepEqual(remote.target, PROMISED);
  });

  it('follows a phone behind a NAT, and stays with it', () => {
    const remote = new RemoteSource();
    remote.expect(PROMISED.address, PROMISED.port);
    assert.equal(remote.accepts(NAT), true);
    assert.deepEqual(remote.target, NAT);
    assert.equal(remote.accepts(STRANGER), false);
  });

  it('MUST return to the promised source when it appears after a stranger', () => {
    const remote = new RemoteSource();
    remote.expect(PROMISED.address, PROMISED.port);
    remote.accepts(STRANGER);
    assert.equal(remote.accepts(PROMISED), true);
    assert.equal(remote.accepts(STRANGER), false);
    assert.deepEqual(remote.target, PROMISED);
  });

  it('MUST forget whom it followed when SDP names another place, and only then', () => {
    const remote = new RemoteSource();
    remote.expect(PROMISED.address, PROMISED.port);
    remote.accepts(NAT);
    remote.expect(PROMISED.address, PROMISED.port);
    assert.deepEqual(remote.target, NAT);
    remote.expect('192.0.2.2', 4000);
    assert.deepEqual(remote.target, { address: '192.0.2.2', port: 4000 });
  });

  it('MUST NOT send to nowhere (hold by 0.0.0.0)', () => {
    const remote = new RemoteSource();
    remote.expect(PROMISED.address, PROMISED.port);
    remote.expect(undefined, 4000);
    assert.equal(remote.target, undefined);
  });
});
