import assert from 'node:assert/strict';
import net from 'node:net';
import fc from 'fast-check';
import {
  canonicalAddress,
  isLoopback,
  isNumericAddress,
  isPrivate,
  nearness,
} from '../../../../registrar/engine/transport/address.ts';

describe('numeric addresses', () => {
  it('have one text form, that of RFC 5952', () => {
    const cases: [string, string][] = [
      ['2001:0DB8:0:0:0:0:0:1', '2001:db8::1'],
      ['0:0:0:0:0:0:0:1', '::1'],
      ['0:0:0:0:0:0:0:0', '::'],
      ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
      ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
      ['fe80::', 'fe80::'],
      ['::ffff:192.0.2.1', '::ffff:c000:201'],
      ['192.0.2.1', '192.0.2.1'],
    ];
    for (const [given, wanted] of cases) assert.equal(canonicalAddress(given), wanted);
  });

  it('keep their value in that form', () => {
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        const canonical = canonicalAddress(address);
        assert.ok(net.isIPv6(canonical), canonical);
        assert.equal(canonicalAddress(canonical), canonical);
        const list = new net.BlockList();
        list.addAddress(address, 'ipv6');
        assert.ok(list.check(canonical, 'ipv6'));
      }),
    );
  });

  it('are told from names', () => {
    assert.ok(isNumericAddress('127.0.0.1') && isNumericAddress('::1'));
    assert.ok(!isNumericAddress('example.test') && !isNumericAddress('1.2.3'));
  });

  it('are near when they share a net, and never when only one is loopback', () => {
    assert.ok(nearness('192.168.1.5', '192.168.1.77') > nearness('10.0.0.1', '192.168.1.77'));
    assert.ok(nearness('127.0.0.1', '127.0.0.9') > 0);
    assert.equal(nearness('127.0.0.1', '192.168.1.1'), -1);
    assert.equal(nearness('192.168.1.1', '127.0.0.1'), -1);
    assert.equal(nearness('172.17.0.1', '172.217.16.1'), 0);
    assert.equal(nearness('2001:db8::1', '2001:db8::2'), 126);
    assert.equal(nearness('2001:db8::1', '2001:db9::2'), 0);
  });

  it('are private when they mean something only nearby', () => {
    const inside = [
      '10.1.2.3',
      '172.31.0.1',
      '192.168.0.1',
      '169.254.1.1',
      '100.64.0.1',
      'fd00::1',
      'fe80::1',
    ];
    const outside = ['8.8.8.8', '172.32.0.1', '192.169.0.1', '100.128.0.1', '2001:db8::1'];
    assert.deepEqual(inside.filter(isPrivate), inside);
    assert.deepEqual(outside.filter(isPrivate), []);
    assert.ok(isLoopback('127.1.2.3') && isLoopback('::1') && !isLoopback('128.0.0.1'));
  });
});
