import assert from 'node:assert/strict';
import type { SipMessage } from '../../../core/sip/message.ts';
import type { ResolvedTarget, Transport } from '../../../registrar/engine/seam.ts';
import { EngineLab, type LabApplication, type LabPeer } from '../../support/engine-lab.ts';
import { SDP } from '../../support/sip-texts.ts';

const NAME = 'node7.pbx.test';
const CONTACT = [`Contact: <sip:bob@${NAME}>`];
const INVITE = `INVITE sip:bob@127.0.0.1:5091 SIP/2.0\r\nFrom: <sip:app@localhost>\r\n\r\n${SDP}`;

function place(port: number, transport: Transport = 'udp'): ResolvedTarget {
  return { transport, remote: { address: '127.0.0.1', port } };
}

/** RFC 3261 sections 12.2.1.1 and 13.2.2.4: the ACK to a 2xx goes where RFC 3263 says that its target is. */
describe('engine: acknowledging a 2xx whose target is a name', () => {
  let lab: EngineLab;
  let bob: LabPeer;
  let node: LabPeer;
  let application: LabApplication;

  beforeEach(() => {
    lab = new EngineLab();
    bob = lab.udpPeer(5091);
    node = lab.udpPeer(5092);
    application = lab.application();
  });

  /** Calls, and is answered with these headers; gives the INVITE. */
  function answered(headers = CONTACT): SipMessage {
    application.command('sip||', INVITE);
    const invite = bob.expect(/^INVITE/);
    bob.respond(invite, '200 OK', headers, SDP);
    application.expect('sip', /200/);
    return invite;
  }

  function dialogIdOf(invite: SipMessage): string {
    return `${invite.callId};from-tag=${invite.fromTag ?? ''}`;
  }

  function acknowledge(invite: SipMessage): readonly string[] {
    return application.command(`sip||${dialogIdOf(invite)}`, 'ACK sip:x SIP/2.0\r\n\r\n').fields;
  }

  function hangUp(invite: SipMessage, peer: LabPeer): void {
    application.command(`sip||${dialogIdOf(invite)}`, 'BYE sip:placeholder SIP/2.0\r\n\r\n');
    peer.respond(peer.expect(/^BYE sip:bob@node7.pbx.test/), '200 OK');
    application.expect('sip', /200/);
    lab.assertIdle();
  }

  it('resolves the name of the Contact, and repeats the ACK there with each repetition of the 2xx', () => {
    lab.names.set(NAME, [place(5092)]);
    const invite = answered();
    acknowledge(invite);
    const ack = node.expect(/^ACK sip:bob@node7.pbx.test/);
    bob.expectNothing();
    bob.respond(invite, '200 OK', CONTACT, SDP);
    assert.deepEqual(node.expect(/^ACK/).bytes, ack.bytes);
    bob.expectNothing();
    hangUp(invite, node);
  });

  it('resolves the name of the first Route', () => {
    lab.names.set('edge.test', [place(5092)]);
    const invite = answered([...CONTACT, 'Record-Route: <sip:edge.test;lr>']);
    acknowledge(invite);
    const ack = node.expect(/^ACK sip:bob@node7.pbx.test/);
    assert.deepEqual(ack.headerValues('Route'), ['<sip:edge.test;lr>']);
    bob.respond(invite, '200 OK', CONTACT, SDP);
    node.expect(/^ACK/);
    hangUp(invite, node);
  });

  it('tells the application OK at once, and sends when the answer is there, but once', () => {
    lab.heldQueries = [];
    const invite = answered();
    assert.deepEqual(acknowledge(invite).slice(3, 7), ['OK', 'application', '0', 'unknown']);
    bob.respond(invite, '200 OK', CONTACT, SDP);
    node.expectNothing();
    const [query] = lab.heldQueries;
    assert.deepEqual([query?.host, lab.heldQueries.length], [NAME, 1]);
    const queryId = query?.queryId ?? 0;
    lab.feed({ kind: 'resolved', queryId, targets: [place(5092)], error: undefined });
    node.expect(/^ACK/);
    node.expectNothing();
    bob.respond(invite, '200 OK', CONTACT, SDP);
    node.expect(/^ACK/);
    lab.heldQueries = undefined;
    lab.names.set(NAME, [place(5092)]);
    hangUp(invite, node);
  });

  it('goes the way that the 2xx came when the name leads nowhere, or to ourselves', () => {
    for (const targets of [[], [place(5060)]]) {
      lab.names.set(NAME, targets);
      const invite = answered();
      acknowledge(invite);
      bob.expect(/^ACK sip:bob@node7.pbx.test/);
      hangUp(invite, bob);
    }
  });

  it('does not ask for names that mean nothing to anybody else', () => {
    lab.heldQueries = [];
    for (const host of ['x1.invalid', 'phone.local', 'desk']) {
      const invite = answered([`Contact: <sip:bob@${host}>`]);
      acknowledge(invite);
      bob.expect(/^ACK/);
    }
    assert.deepEqual(lab.heldQueries, []);
  });

  it('goes to the next place when the connection to the first has failed', () => {
    lab.names.set(NAME, [place(5093, 'tcp'), place(5092)]);
    const invite = answered();
    acknowledge(invite);
    node.expectNothing();
    bob.respond(invite, '200 OK', CONTACT, SDP);
    node.expect(/^ACK/);
    hangUp(invite, node);
  });

  it('acknowledges a second answer by itself where that one is', () => {
    lab.names.set(NAME, [place(5092)]);
    const invite = answered(['Contact: <sip:bob@127.0.0.1:5091>']);
    acknowledge(invite);
    bob.expect(/^ACK/);
    bob.respond(invite, '200 OK', CONTACT, SDP, 'second');
    const [ack, bye] = [node.expect(/^ACK/), node.expect(/^BYE/)];
    assert.deepEqual([ack.toTag, bye.toTag], ['second', 'second']);
    node.respond(bye, '200 OK');
  });
});
