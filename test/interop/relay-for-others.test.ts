/** The relay of a running switch, used by another SIP server over ng. */
import assert from 'node:assert/strict';
import { startSwitch } from '../../registrar/main.ts';
import { loadConfig } from '../../config/load.ts';
import { nullLog } from '../../core/log.ts';
import { connectMediaRelay } from '../../media-relay/public.ts';
import { freePorts } from '../support/free-ports.ts';
import { LiveSwitch } from '../support/live-switch.ts';
import { packetsPass, RtpPeer } from '../support/rtp-peer.ts';

const HOST = '127.0.0.1';

describe('the media relay of a switch', function () {
  this.timeout(30_000);

  it('carries calls of another SIP server, and says which setting a taken port comes from', async () => {
    const port = await freePorts(1);
    const parley = new LiveSwitch();
    await parley.start({ 'relay.ngPort': String(port) });
    const relay = await connectMediaRelay({ host: HOST, port });
    const [caller, callee] = [await RtpPeer.open(), await RtpPeer.open()];
    try {
      await relay.ping();
      const names = { callId: 'of another', fromTag: 'a' };
      callee.setRemote((await relay.offer({ ...names, sdp: caller.sdp() })).sdp);
      const answer = await relay.answer({ ...names, toTag: 'b', sdp: callee.sdp() });
      caller.setRemote(answer.sdp);
      await packetsPass(caller, callee);
      await packetsPass(callee, caller);
      assert.deepEqual(await relay.list(), [names.callId]);

      const config = loadConfig({
        environment: {},
        flags: {
          dataFolder: parley.certificateFile.replace(/tls\/[^/]*$/, 'other'),
          'sip.port': '0',
          'sip.listenAddresses': HOST,
          'relay.ngPort': String(port),
        },
      });
      await assert.rejects(
        startSwitch(config, { log: nullLog }),
        new RegExp(`ng cannot listen on ${HOST}:${port}: .*EADDRINUSE.*; see relay\\.ngPort`),
      );
      await relay.delete({ callId: names.callId });
    } finally {
      caller.close();
      callee.close();
      await relay.close();
      await parley.stop();
    }
  });
});
