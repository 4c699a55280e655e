import assert from 'node:assert/strict';
import { isatty } from 'node:tty';
import { createLogWriter, type LogWriterOptions } from '../../../config/log-writer.ts';
import { ControlError } from '../../../core/errors.ts';

describe('log writer', () => {
  const written = (
    options: Partial<LogWriterOptions>,
    log: (writer: ReturnType<typeof createLogWriter>) => void,
  ): string => {
    let text = '';
    const destination = { write: (line: string) => void (text += line) };
    log(
      createLogWriter({
        level: 'info',
        format: 'json',
        showPrivate: false,
        destination,
        ...options,
      }),
    );
    return text;
  };
  const secretive = (writer: ReturnType<typeof createLogWriter>): void => {
    writer.info('registrar.binding.added', () => ({
      user: 'alice',
      callId: 'x1',
      note: 'from sip:bob@192.0.2.7:5062;ob via [2001:db8::7]:5060 at 12:30',
      error: new ControlError('engine.closed', 'lost 192.0.2.9:9022'),
      nested: { contact: '<sip:alice@h>', count: 3 },
    }));
  };

  it('writes one JSON line for an event', () => {
    const line = written({}, (writer) => {
      writer.warn('relay.port.latched', () => ({ port: 4711 }));
    });
    const { level, event, port, time } = JSON.parse(line) as Record<string, unknown>;
    assert.deepEqual(
      { level, event, port },
      { level: 'warn', event: 'relay.port.latched', port: 4711 },
    );
    assert.match(String(time), /^\d{4}-\d\d-\d\dT/);
  });

  it('neither writes nor asks for the fields of a level that is off', () => {
    const line = written({ level: 'warn' }, (writer) => {
      writer.info('a.b.c', () => assert.fail('asked'));
    });
    assert.equal(line, '');
  });

  it('keeps names and addresses to itself', () => {
    const line = written({}, secretive);
    for (const secret of ['alice', 'bob', '192.0.2', '2001:db8'])
      assert.ok(!line.includes(secret), line);
    const fields = JSON.parse(line) as { callId: string; note: string; nested: { count: number } };
    assert.equal(fields.callId, 'x1');
    assert.equal(fields.nested.count, 3);
    assert.ok(fields.note.endsWith('at 12:30'), fields.note);
  });

  it('shows them when that is wished', () => {
    const line = written({ showPrivate: true }, secretive);
    for (const shown of ['alice', 'sip:bob@192.0.2.7:5062', 'engine.closed'])
      assert.ok(line.includes(shown));
  });

  it('writes text for people', () => {
    const line = written({ format: 'text' }, (writer) => {
      writer.error('a.b.c', () => ({ count: 2 }));
    });
    assert.match(line, /Z error a\.b\.c count=2\n$/);
  });

  it('writes for whoever is there, unless it is told', () => {
    const line = written({ format: 'auto' }, (writer) => {
      writer.error('a.b.c');
    });
    assert.equal(line.startsWith('{'), !isatty(2));
  });
});
