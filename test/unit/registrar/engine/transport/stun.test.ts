import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isStun, stunAnswer } from '../../../../../registrar/engine/transport/stun.ts';

/** The transaction id of the sample messages of RFC 5769. */
const ID = 'b7e7a701bc34d686fa87dfae';
const hex = (...parts: readonly string[]): Buffer => Buffer.from(parts.join(''), 'hex');
const REQUEST = hex('000100002112a442', ID);
const IPV4 = { address: '192.0.2.1', port: 32_853 };
const IPV6 = { address: '2001:db8:1234:5678:11:2233:4455:6677', port: 32_853 };

describe('STUN on the SIP port (RFC 5626 section 8)', () => {
  it('tells a device its address as the samples of RFC 5769 (sections 2.2 and 2.3) write it', () => {
    assert.deepEqual(
      stunAnswer(REQUEST, IPV4),
      hex('0101000c2112a442', ID, '002000080001a147e112a643'),
    );
    assert.deepEqual(
      stunAnswer(REQUEST, IPV6),
      hex('010100182112a442', ID, '002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9'),
    );
  });

  it('pays no heed to optional attributes, names and signatures', () => {
    const software = '802200047068656e';
    const username = '0006000361626300';
    const signature = `00080014${'00'.repeat(20)}`;
    const bytes = hex('000100282112a442', ID, software, username, signature);
    assert.deepEqual(stunAnswer(bytes, IPV4), stunAnswer(REQUEST, IPV4));
  });

  it('refuses what must be understood and is not with 420', () => {
    const bytes = hex('0001000c2112a442', ID, '0003000400000002', '00240000');
    const answer = stunAnswer(bytes, IPV4);
    assert.deepEqual(answer, hex('011100102112a442', ID, '0009000400000414', '000a000400030024'));
  });

  it('says nothing to anything else', () => {
    const others = [
      // Indication, answer, another method.
      hex('001100002112a442', ID),
      hex('010100002112a442', ID),
      hex('000300002112a442', ID),
      // Lengths that do not fit together.
      hex('000100042112a442', ID),
      hex('000100042112a442', ID, '80220004'),
      hex('000100022112a442', ID, '8022'),
      REQUEST.subarray(0, 19),
      Buffer.from('OPTIONS sip:example.test SIP/2.0\r\n\r\n'),
      Buffer.alloc(0),
    ];
    for (const bytes of others) assert.equal(stunAnswer(bytes, IPV4), undefined);
    assert.ok(!isStun(Buffer.from('SIP/2.0 200 OK\r\n\r\n')));
  });

  it('survives whatever stands behind the cookie', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 100 }), (rest) => {
        const bytes = Buffer.concat([REQUEST.subarray(0, 8), rest]);
        if (bytes.length >= 20) bytes.writeUInt16BE(bytes.length - 20, 2);
        const answer = stunAnswer(bytes, IPV4);
        if (answer !== undefined) assert.ok(isStun(answer) && answer.length <= 64);
      }),
      { seed: 5626 },
    );
  });
});
