import assert from 'node:assert/strict';
import { ParseError } from '../../../core/errors.ts';
import { parseXml, serializeXml } from '../../../core/xml.ts';

describe('XML documents', () => {
  it('reads names without prefix, attributes, nested elements and text', () => {
    const root = parseXml(
      '<?xml version="1.0"?>\n<ci:conference-info xmlns:ci="urn:x" entity="sip:a&amp;b@x">' +
        '<ci:users state="full"><ci:user entity="sip:%23t@x"/></ci:users></ci:conference-info>\n',
    );
    assert.equal(root.name, 'conference-info');
    assert.equal(root.attributes.get('entity'), 'sip:a&b@x');
    assert.equal(root.children[0]?.children[0]?.attributes.get('entity'), 'sip:%23t@x');
  });

  it('decodes the predefined entities and character references and no others', () => {
    const root = parseXml('<a>Bj&#xf8;rn &lt;&#233;&gt; &unknown; &#0; <![CDATA[<x>]]></a>');
    assert.equal(root.text, 'Bjørn <é> &unknown; \uFFFD <x>');
  });

  it('MUST NOT expand entities that the document declares', () => {
    const bomb = '<!DOCTYPE a [<!ENTITY x "yyyyyyyy"><!ENTITY z "&x;&x;&x;">]><a>&z;</a>';
    assert.throws(
      () => parseXml(bomb),
      (error) => error instanceof ParseError && error.code === 'xml.doctype',
    );
  });

  const malformed = ['', 'hello', '<a>', '<a></b>', '<a/><b/>', '<a b=1/>', '<__proto__/>'];
  for (const text of [...malformed, '<a>'.repeat(100) + '</a>'.repeat(100), 'x'.repeat(2 ** 21)]) {
    it(`MUST refuse ${JSON.stringify(text.slice(0, 20))} (${text.length}) with a ParseError`, () => {
      assert.throws(() => parseXml(text), ParseError);
    });
  }

  it('gives back what was written, whatever the characters', () => {
    const nasty = `"'<>&\u0000\u0001 æøå 日本 🎉 ]]> \n\t end`;
    const text = serializeXml({
      name: 'a',
      attributes: { entity: nasty, absent: undefined },
      children: [{ name: 'b', text: nasty }, { name: 'c' }],
    });
    const root = parseXml(text);
    const expected = nasty.replaceAll('\u0000', '').replaceAll('\u0001', '');
    assert.equal(root.attributes.get('entity'), expected);
    assert.equal(root.attributes.has('absent'), false);
    assert.equal(root.children[0]?.text, expected);
    assert.equal(root.children[1]?.text, '');
  });
});
