import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { ConfigError } from '../../../../core/errors.ts';
import { parseFlags } from '../../../../softphone/flags.ts';
import { commandFrom, describeCommands, parseLine } from '../../../../softphone/ui/commands.ts';
import {
  clockTime,
  duration,
  painter,
  person,
  printable,
  registrationLine,
  textLine,
} from '../../../../softphone/ui/terminal/format.ts';

describe('commands of the phone', () => {
  for (const [line, command] of [
    ['call bob', { name: 'call', values: { target: 'bob' } }],
    ['  answer  ', { name: 'answer', values: {} }],
    ['hangup c3', { name: 'hangup', values: { call: 'c3' } }],
    ['say lobby  hello  there', { name: 'say', values: { room: 'lobby', text: 'hello  there' } }],
    ['msg bob hi', { name: 'msg', values: { to: 'bob', text: 'hi' } }],
    ['dtmf 12#', { name: 'dtmf', values: { digits: '12#' } }],
    ['codec opus c1', { name: 'codec', values: { codec: 'opus', call: 'c1' } }],
    ['who', { name: 'who', values: {} }],
  ] as const) {
    it(`reads "${line}"`, () => {
      assert.deepEqual(parseLine(line), command);
    });
  }

  it('reads the same commands as JSON', () => {
    assert.deepEqual(commandFrom({ id: 7, command: 'say', room: 'lobby', text: ' a  b ' }), {
      name: 'say',
      values: { room: 'lobby', text: ' a  b ' },
    });
    assert.deepEqual(commandFrom({ command: 'bitrate', bitrate: 24000, call: null }), {
      name: 'bitrate',
      values: { bitrate: '24000' },
    });
  });

  for (const line of [
    '',
    'dance',
    'call',
    'say lobby',
    'msg',
    'answer c1 c2',
    'constructor',
    '__proto__',
  ]) {
    it(`MUST refuse ${JSON.stringify(line)} in one sentence`, () => {
      assert.throws(() => parseLine(line), ConfigError);
    });
  }

  it('MUST refuse JSON that is no command', () => {
    for (const message of [
      {},
      { command: 1 },
      { command: 'toString' },
      { command: 'call' },
      { command: 'call', target: {} },
      { command: 'call', target: 'a', extra: 1 },
    ]) {
      assert.throws(() => commandFrom(message), ConfigError);
    }
  });

  it('fit into 80 columns with their help', () => {
    for (const { usage, help } of describeCommands()) {
      const width = 2 + Math.max(24, usage.length) + 1 + help.length;
      assert.ok(width <= 80, `${usage}: ${width}`);
    }
  });

  it('MUST all be described in docs/softphone.md', async () => {
    const docs = await readFile(
      path.resolve(import.meta.dirname, '../../../../docs/softphone.md'),
      'utf8',
    );
    for (const { usage } of describeCommands()) {
      const [name = ''] = usage.split(' ');
      assert.match(docs, new RegExp(`^\\| \`${name}[ \`]`, 'm'), `${name} is missing`);
    }
  });
});

describe('flags of the phone', () => {
  const flags = (...argv: string[]) => parseFlags(argv, {});

  it('has a default for everything but the password', () => {
    const parsed = flags('--as', 'anna');
    assert.ok(parsed);
    assert.equal(parsed.phone.nickname, 'anna');
    assert.deepEqual(parsed.phone.server, { host: '127.0.0.1', port: 5060 });
    assert.equal(parsed.phone.lobby, 'lobby');
    assert.deepEqual(parsed.phone.codecs, ['opus', 'PCMU', 'PCMA']);
    assert.deepEqual(parsed.phone.rtpPorts, { lowest: 16_384, highest: 32_767 });
    assert.deepEqual(parsed.phone.sound, { microphone: undefined, speaker: undefined });
  });

  it('reads them all', () => {
    const parsed = flags(
      ...['--as', 'anna@example.com', '--server', '[::1]:5070', '--transport', 'tls', '--no-lobby'],
      ...[
        '--codec',
        'pcmu,OPUS',
        '--play',
        'a.wav',
        '--play-loop',
        '--record',
        'b.wav',
        '--answer',
      ],
      ...['--rtp-ports', '20000-20099', '--max-calls', '1', '--no-hold-others', '--headless'],
    );
    assert.ok(parsed);
    assert.equal(parsed.phone.nickname, 'anna');
    assert.equal(parsed.phone.domain, 'example.com');
    assert.deepEqual(parsed.phone.server, { host: '::1', port: 5070 });
    assert.deepEqual(parsed.phone.tls, { ca: undefined, isUnverified: false });
    assert.equal(parsed.phone.lobby, undefined);
    assert.deepEqual(parsed.phone.codecs, ['PCMU', 'opus']);
    assert.deepEqual(parsed.play, { file: 'a.wav', isLooped: true });
    assert.equal(parsed.phone.sound, 'none');
    assert.equal(parsed.phone.holdsOthers, false);
    assert.equal(parsed.phone.maxCalls, 1);
  });

  for (const argv of [
    ['--bogus'],
    ['word'],
    ['--as'],
    ['--as', 'two words'],
    ['--as', 'a'.repeat(33)],
    ['--server', 'a b'],
    ['--server', 'host:99999'],
    ['--transport', 'udp'],
    ['--codec', 'mp3'],
    ['--rtp-ports', '5000'],
    ['--rtp-ports', '20000-20001'],
    ['--rtp-ports', '1-100'],
    ['--max-calls', '0'],
    ['--sound', 'loud'],
    ['--transport', 'tls', '--tls-ca', '/nowhere/ca.pem'],
  ]) {
    it(`MUST refuse ${argv.join(' ')} in one sentence`, () => {
      assert.throws(
        () => flags(...argv),
        (error) => error instanceof ConfigError && /^[^\n]+\.$/.test(error.message),
      );
    });
  }
});

describe('what the terminal shows', () => {
  it('MUST NOT let a stranger move the cursor, ring the bell or hide text', () => {
    const evil = 'a\u001B[2Jb\u0007c\r\nd\u202Ee\u0000\u009Bf\u200Bg';
    assert.equal(printable(evil), 'a[2Jbc defg');
    assert.equal(printable('👩‍👩‍👧 日本 é'), '👩‍👩‍👧 日本 é');
  });

  it('tells time, duration and people', () => {
    assert.match(clockTime(Date.now()), /^\d\d:\d\d$/);
    assert.equal(duration(0), '0:00');
    assert.equal(duration(187_000), '3:07');
    assert.equal(duration(3_753_000), '1:02:33');
    assert.equal(person('Bob Ross', 'bob'), 'Bob Ross (bob)');
    assert.equal(person('', 'bob'), 'bob');
    assert.equal(person('bob', 'bob'), 'bob');
  });

  it('has colours only where they are wanted', () => {
    const text = { atMs: 0, nickname: 'bob', name: 'Bob', room: 'lobby', text: 'hello' };
    assert.match(textLine(text, painter(false)), /^\d\d:\d\d #lobby Bob: hello$/);
    assert.ok(textLine(text, painter(true)).includes('\u001B[36m#lobby\u001B[0m'));
  });

  it('says what is wrong with a registration', () => {
    const refused = { kind: 'refused', statusCode: 403, reason: 'Forbidden' } as const;
    assert.match(registrationLine(refused, 'anna') ?? '', /name or the password is wrong/);
  });
});
