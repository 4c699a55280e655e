import assert from 'node:assert/strict';
import {
  copied,
  DIALOG_REQUEST_HEADERS,
  headerOf,
  INVITE_HEADERS,
  reason,
  reasonText,
  responseHeaders,
  warning,
} from '../../../../../registrar/app/calls/headers.ts';

function message(
  headers: Record<string, string>,
  more: { status?: number; body?: string } = {},
): { get(name: string): string | undefined; status: number; body?: string } {
  const byName = new Map(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
  );
  return { status: 200, ...more, get: (name) => byName.get(name.toLowerCase()) };
}

describe('headers that pass through the switch', () => {
  it('are only those that are meant to', () => {
    const invite = message({
      Subject: 'Lunch',
      Priority: 'urgent',
      'Alert-Info': '<http://a>;info=alert-autoanswer',
      'Call-Info': '<sip:a>;answer-after=0',
      'Answer-Mode': 'Auto',
      'X-RTP-Stat': 'IP=192.168.1.5:4000',
      'User-Agent': 'phone',
      Via: 'SIP/2.0/UDP 192.168.1.5',
      Contact: '<sip:alice@192.168.1.5>',
    });
    assert.deepEqual(copied(invite, INVITE_HEADERS), { Subject: 'Lunch', Priority: 'urgent' });
  });

  it('lose their folds, and cannot add a line', () => {
    const folded = message({ Subject: 'one\r\n two\n\tthree' });
    assert.equal(headerOf(folded, 'Subject'), 'one two three');
  });

  it('are found under the compact names that drachtio-srf leaves or makes', () => {
    const compact = message({ 'contact-encoding': 'deflate', o: 'refer', r: '<sip:c@d>' });
    assert.equal(headerOf(compact, 'Refer-To'), '<sip:c@d>');
    assert.deepEqual(copied(compact, DIALOG_REQUEST_HEADERS), {
      Event: 'refer',
      'Content-Encoding': 'deflate',
    });
  });
});

describe("a device's answer for the caller", () => {
  it('keeps Reason and Retry-After and hides the device in a Warning', () => {
    const answer = message(
      {
        Reason: 'SIP;cause=486;text="Busy, really"',
        'Retry-After': '10',
        Warning: '399 192.168.1.5:5060 "One, two", 304 [2001:db8::1]:5060 "No"',
        Contact: '<sip:bob@192.168.1.5>',
        Server: 'phone',
      },
      { status: 486 },
    );
    assert.deepEqual(responseHeaders(answer, 'example.net'), {
      Reason: 'SIP;cause=486;text="Busy, really"',
      'Retry-After': '10',
      Warning: '399 example.net "One, two", 304 example.net "No"',
    });
  });

  it('drops a Warning that is none', () => {
    for (const Warning of ['399 "x', 'nonsense', '399 host text', '']) {
      assert.deepEqual(responseHeaders(message({ Warning }), 'example.net'), {});
    }
  });

  it('keeps Contact only in a redirection', () => {
    const headers = { Contact: '<sip:bob@office.example.org>' };
    assert.deepEqual(responseHeaders(message(headers, { status: 302 }), 'd'), headers);
    assert.deepEqual(responseHeaders(message(headers, { status: 480 }), 'd'), {});
  });

  it('describes its body only when it has one', () => {
    const headers = { 'Content-Type': 'text/plain' };
    assert.deepEqual(responseHeaders(message(headers, { body: 'x' }), 'd'), headers);
    assert.deepEqual(responseHeaders(message(headers, { body: '' }), 'd'), {});
  });
});

describe('headers that we write', () => {
  it('quote what people wrote', () => {
    assert.deepEqual(warning(399, 'd', 'a "b" \\'), { Warning: '399 d "a \\"b\\" \\\\"' });
    assert.deepEqual(reason(480, 'gone\r\nVia: x'), {
      Reason: 'SIP;cause=480;text="gone  Via: x"',
    });
  });

  it('give their text back for the record', () => {
    assert.equal(reasonText(reason(200, 'a "b" \\')['Reason']), 'a "b" \\');
    assert.equal(reasonText('SIP;cause=200'), 'SIP;cause=200');
    assert.equal(reasonText(undefined), '');
  });
});
