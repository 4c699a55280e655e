import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { formatDigestChallenge, type DigestAlgorithm } from '../../../core/sip/digest.ts';
import { computeHa1, computeResponse, parseDigestCredentials } from '../../../core/sip/digest.ts';
import { SipPeer, type PeerOptions } from '../../support/sip-peer.ts';

const OFFER = 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n';
const ANSWER = OFFER.replace('o=- 1', 'o=- 2');

const WAYS: readonly (readonly [string, PeerOptions])[] = [
  ['UDP over IPv4', { transport: 'udp', address: '127.0.0.1' }],
  ['TCP over IPv4', { transport: 'tcp', address: '127.0.0.1' }],
  ['UDP over IPv6', { transport: 'udp', address: '::1' }],
  ['TCP over IPv6', { transport: 'tcp', address: '::1' }],
];

const HAS_IPV6 = Object.values(networkInterfaces())
  .flat()
  .some((face) => face?.address === '::1');

async function pair(options: PeerOptions): Promise<{ alice: SipPeer; bob: SipPeer }> {
  const bob = await SipPeer.open({ ...options, user: 'bob' });
  const server = bob.endpoint;
  const alice = await SipPeer.open({ ...options, user: 'alice', password: 'secret', server });
  return { alice, bob };
}

for (const [name, options] of WAYS) {
  describe(`scripted SIP peer, ${name}`, () => {
    let alice: SipPeer;
    let bob: SipPeer;

    before(function () {
      if (options.address === '::1' && !HAS_IPV6) this.skip();
    });

    beforeEach(async () => {
      ({ alice, bob } = await pair(options));
    });

    afterEach(async () => {
      await alice.close();
      await bob.close();
    });

    it('makes a call, changes it, and is hung up on', async () => {
      const outgoing = await alice.invite(bob.contactUri, { sdp: OFFER });
      const incoming = await bob.expectCall();
      assert.equal(incoming.remoteSdp, OFFER);
      incoming.ring();
      await outgoing.ringing();
      const [, ack] = await Promise.all([outgoing.answered(), incoming.answer(ANSWER)]);
      assert.equal(ack.cseq.sequence, 1);
      assert.equal(outgoing.remoteSdp, ANSWER);
      await Promise.all([outgoing.reinvite(OFFER), incoming.expectReinvite(ANSWER)]);
      await Promise.all([incoming.reinvite(ANSWER), outgoing.expectReinvite(OFFER)]);
      await Promise.all([incoming.bye(), outgoing.expectBye()]);
      assert.deepEqual([...alice.unexpected, ...bob.unexpected], []);
    });

    it('cancels a call that rings', async () => {
      const outgoing = await alice.invite(bob.contactUri);
      const incoming = await bob.expectCall();
      incoming.ring();
      await outgoing.ringing();
      const [response] = await Promise.all([outgoing.cancel(), incoming.expectCancel()]);
      assert.equal(response.statusCode, 487);
    });

    it('is refused', async () => {
      const outgoing = await alice.invite(bob.contactUri);
      const incoming = await bob.expectCall();
      await Promise.all([incoming.reject(603), outgoing.rejected(603)]);
    });
  });
}

describe('scripted SIP peer', () => {
  for (const algorithm of ['MD5', 'SHA-256'] satisfies DigestAlgorithm[]) {
    it(`answers a challenge with ${algorithm} (RFC 8760 §2)`, async () => {
      const { alice, bob } = await pair({ algorithm });
      const registered = alice.register();
      const challenge = {
        realm: 'r',
        nonce: 'n',
        opaque: 'o',
        qop: ['auth'],
        isStale: false,
      } as const;
      const first = await bob.expectRequest('REGISTER');
      first.reply(401, {
        headers: {
          'WWW-Authenticate': [
            formatDigestChallenge({ ...challenge, algorithm: 'SHA-256' }),
            formatDigestChallenge({ ...challenge, algorithm: 'MD5' }),
          ],
        },
      });
      const second = await bob.expectRequest('REGISTER');
      const [credentials] = parseDigestCredentials(second.message.header('Authorization') ?? '');
      assert(credentials !== undefined);
      const ha1 = computeHa1(algorithm, 'alice', 'r', 'secret');
      assert.equal(
        credentials.response,
        computeResponse({ ...credentials, ha1, method: 'REGISTER' }),
      );
      assert.equal(credentials.algorithm, algorithm);
      assert.equal(second.message.cseq.sequence, first.message.cseq.sequence + 1);
      second.reply(200);
      assert.equal((await registered).statusCode, 200);
      await Promise.all([alice.close(), bob.close()]);
    });
  }

  it('says what came instead of what was expected', async () => {
    const { alice, bob } = await pair({});
    const exchange = await alice.request('OPTIONS', bob.contactUri);
    (await bob.expectRequest('OPTIONS')).reply(404);
    await assert.rejects(exchange.final(200), /response 200 to OPTIONS .*, got 404 Not Found/);
    await assert.rejects(
      alice.expectRequest('BYE', 20),
      /no request BYE within 20 ms.*\n.*OPTIONS/,
    );
    await Promise.all([alice.close(), bob.close()]);
  });

  it('repeats a request over UDP until it is answered, and the answer for every repetition', async () => {
    const { alice, bob } = await pair({});
    const exchange = await alice.request('OPTIONS', bob.contactUri);
    const request = await bob.expectRequest('OPTIONS');
    await new Promise((resolve) => setTimeout(resolve, 600));
    request.reply(200);
    await exchange.final(200);
    assert(alice.seen.filter(({ direction }) => direction === 'out').length >= 2);
    assert.deepEqual(bob.unexpected, []);
    await Promise.all([alice.close(), bob.close()]);
  });
});
