import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CallSwitch } from '../support/call-switch.ts';
import { sdp } from '../support/sdp.ts';
import type { RequestOptions, SipPeer } from '../support/sip-peer.ts';

const BOB = 'sip:bob@parley.test';
const AT_ONCE_MS = 2000;

describe('devices that registered before the switch was started again', function () {
  this.timeout(60_000);
  let dataFolder: string;
  let running: CallSwitch;
  let alice: SipPeer;

  const start = (): Promise<CallSwitch> => CallSwitch.start({ dataFolder });

  /** A phone of bob that is reached by its connection only, as most are. */
  const flow = async (): Promise<SipPeer> => {
    const password = await running.account('bob');
    const peer = await running.stranger('bob', { password, transport: 'tcp' });
    await peer.register(outbound(peer));
    return peer;
  };
  const outbound = (peer: SipPeer): RequestOptions => ({
    contact: `<${peer.contactUri}>;+sip.instance="<urn:uuid:1>";reg-id=1`,
    headers: { Supported: 'outbound' },
  });

  const restart = async (): Promise<void> => {
    await running.closePeers();
    await running.shutDown();
    running = await start();
    alice = await running.person('alice');
  };

  const statusOf = async (method: string, body?: string): Promise<number> => {
    const content = body === undefined ? {} : { body, contentType: 'text/plain' };
    const sent = await alice.request(method, BOB, content);
    return (await sent.final(undefined, AT_ONCE_MS)).statusCode;
  };

  beforeEach(async () => {
    dataFolder = await mkdtemp(path.join(tmpdir(), 'parley-restart-'));
    running = await start();
  });
  afterEach(async () => {
    await running.clear();
    await running.stop();
    await rm(dataFolder, { recursive: true, force: true });
  });

  it('are not there at once, for calls, texts and questions, and are reached once they are back', async () => {
    await flow();
    await restart();
    assert.equal(running.bindingCount('bob'), 1);
    const call = await alice.invite(BOB, { sdp: sdp() });
    await call.rejected(480, AT_ONCE_MS);
    assert.equal(await statusOf('MESSAGE', 'hello'), 480);
    assert.equal(await statusOf('OPTIONS'), 480);
    const back = await flow();
    const again = await alice.invite(BOB, { sdp: sdp() });
    const taken = await back.expectCall();
    await Promise.all([again.answered(), taken.answer(sdp({ port: 41_000 }))]);
    await Promise.all([again.bye(), taken.expectBye()]);
  });

  it('do not hold up the others of the same person', async () => {
    await flow();
    await restart();
    const desk = await running.person('bob');
    const call = await alice.invite(BOB, { sdp: sdp() });
    const taken = await desk.expectCall();
    await Promise.all([taken.reject(486), call.rejected(486, AT_ONCE_MS)]);
  });
});
