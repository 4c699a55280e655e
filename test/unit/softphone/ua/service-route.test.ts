import assert from 'node:assert/strict';
import fc from 'fast-check';
import { serviceRouteOf } from '../../../../softphone/ua/service-route.ts';

describe('Service-Route in the answer to REGISTER (RFC 3608 §5)', () => {
  const routeOf = (...values: readonly string[]): readonly string[] =>
    serviceRouteOf({
      statusCode: 200,
      reasonPhrase: 'OK',
      headers: (name) => (name === 'service-route' ? values : []),
    });

  it('keeps all values in their order, in one line', () => {
    assert.deepEqual(routeOf(), []);
    assert.deepEqual(routeOf('<sip:a.test;lr>'), ['<sip:a.test;lr>']);
    const two = ['<sip:a.test;lr>, "B, C" <sips:u@[2001:db8::1]:5061;lr;x=1>', '<sip:d.test;lr>;y'];
    assert.deepEqual(routeOf(...two), [two.join(', ')]);
  });

  it('does without when a value is no route, is none of a loose router, or there are far too many', () => {
    for (const value of [
      'nonsense',
      '<tel:+123>',
      '<sip:a.test>',
      '<sip:a.test;lr>, <sip:b.test>',
      '<sip:a.test;lr>, <broken',
      ' ',
      ',',
      Array.from({ length: 200 }, (_, n) => `<sip:h${n}.test;lr>`).join(','),
    ]) {
      assert.deepEqual(routeOf(value), [], value);
    }
  });

  it('never fails', () => {
    const unit = fc.constantFrom('<', '>', 'sip:', 'a', ';lr', ',', '"', '\\', '@', ' ', ':', '[');
    fc.assert(
      fc.property(fc.array(fc.string({ unit, maxLength: 30 }), { maxLength: 4 }), (values) => {
        const routes = routeOf(...values);
        assert.ok(routes.length <= 1);
        for (const route of routes) assert.ok(route.includes(';lr'));
      }),
    );
  });
});
