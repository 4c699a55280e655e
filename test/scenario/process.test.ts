import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { Program } from '../support/program.ts';
import { freePorts } from '../support/free-ports.ts';
import { SipPeer, type PeerOptions } from '../support/sip-peer.ts';

const PROGRAM = path.resolve(import.meta.dirname, '../../registrar/cli/parley.ts');
const STARTED = /What to do next/;
const PATIENCE_MS = 30_000;

describe('the switch as a process', function () {
  this.timeout(120_000);
  let folder: string;
  let port: number;
  const programs: Program[] = [];
  const peers: SipPeer[] = [];

  beforeEach(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'parley-process-'));
    port = await freePorts(1);
  });
  afterEach(async () => {
    for (const peer of peers.splice(0)) await peer.close();
    for (const program of programs.splice(0)) await program.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const parley = async (...words: string[]): Promise<Program> => {
    const args = ['--import', 'tsx', PROGRAM, ...words];
    const program = await Program.start(process.execPath, args, {
      name: `parley ${words[0] ?? ''}`,
      env: {
        ...process.env,
        PORT: String(port),
        PARLEY_DATA_FOLDER: path.join(folder, 'data'),
        PARLEY_SIP_DOMAIN: 'parley.test',
        PARLEY_SIP_LISTEN_ADDRESSES: '127.0.0.1',
        PARLEY_RTP_LISTEN_ADDRESSES: '127.0.0.1',
      },
    });
    programs.push(program);
    return program;
  };
  const serve = async (): Promise<Program> => {
    const program = await parley('serve');
    await program.waitFor(STARTED, PATIENCE_MS);
    return program;
  };
  const add = async (user: string, password: string): Promise<void> => {
    const program = await parley('user', 'add', user, '--password-stdin');
    program.endInput(`${password}\n`);
    assert.equal(await program.exited, 0, program.describe());
  };
  const peer = async (user: string, options: PeerOptions = {}): Promise<SipPeer> => {
    const server = { address: '127.0.0.1', port };
    const opened = await SipPeer.open({
      server,
      user,
      password: 'secret',
      domain: 'parley.test',
      ...options,
    });
    peers.push(opened);
    return opened;
  };

  it('tells where it listens, its rooms and what to do next, and serves accounts that are added meanwhile', async () => {
    const running = await serve();
    assert.match(running.output, /serves the domain parley\.test/);
    assert.match(running.output, new RegExp(`127\\.0\\.0\\.1:${port} UDP\\+TCP`));
    assert.match(running.output, /lobby \(dial 1000\)/);
    assert.match(running.output, /npx parley user add NAME/);
    assert.match(running.output, new RegExp(`--as NAME --server 127\\.0\\.0\\.1:${port}, or any`));
    assert.equal(running.errors, '', 'nothing else is to be read at a first start');
    const alice = await peer('alice');
    await alice.register({ expect: 401 });
    await add('Alice', 'secret');
    await (await peer('alice')).register();
    const removal = await parley('user', 'remove', 'alice');
    assert.equal(await removal.exited, 0, removal.describe());
    await (await peer('alice')).register({ expect: 401 });
  });

  it('loses no registration that it acknowledged when it is killed', async () => {
    await add('alice', 'secret');
    const first = await serve();
    const phones = await Promise.all(Array.from({ length: 8 }, () => peer('alice')));
    await Promise.all(phones.map((phone) => phone.register()));
    first.signal('SIGKILL');
    await first.exited;

    await serve();
    const asking = await peer('alice');
    const answer = await asking.register({ contact: '' });
    const expected = phones.map(({ contactUri }) => contactUri).sort();
    assert.deepEqual(answer.contacts.map(({ uriText }) => uriText).sort(), expected);
  });

  it('ends on SIGTERM within seconds, with exit code 0', async () => {
    const running = await serve();
    const startedMs = Date.now();
    running.signal('SIGTERM');
    assert.equal(await running.exited, 0, running.describe());
    assert.ok(Date.now() - startedMs < 10_000);
    assert.match(running.output, /Ending calls/);
  });

  describe('when it cannot start', () => {
    const failure = async (program: Program): Promise<string> => {
      assert.equal(await program.exited, 1, program.describe());
      const sentences = program.errors
        .trimEnd()
        .split('\n')
        .filter((line) => !line.startsWith('{'));
      assert.equal(sentences.length, 1, program.errors);
      return sentences[0] ?? '';
    };

    it('says that its port is taken', async () => {
      const taken = createSocket('udp4');
      taken.bind(port, '127.0.0.1');
      await once(taken, 'listening');
      try {
        assert.match(
          await failure(await parley('serve')),
          new RegExp(
            `^parley: cannot listen on 127\\.0\\.0\\.1:${port}: another program has it; .*PORT`,
          ),
        );
      } finally {
        taken.close();
      }
    });

    /** What is on the port after ours, the words that open it, and the setting that the sentence is to name. */
    const others: readonly (readonly [
      what: string,
      isStream: boolean,
      words: (taken: number) => string[],
      setting: RegExp,
    ])[] = [
      ['TCP', true, (taken) => ['--set', `sip.port=${taken}`], /with PORT$/],
      ['TLS', true, () => [], /with tls\.port, or set tls\.enabled = false$/],
      [
        'WebSocket',
        true,
        (taken) => ['--set', 'tls.enabled=no', '--set', `tls.webSocketPort=${taken}`],
        /with tls\.webSocketPort$/,
      ],
      [
        'secure WebSocket',
        true,
        (taken) => ['--set', 'tls.enabled=no', '--set', `tls.secureWebSocketPort=${taken}`],
        /with tls\.secureWebSocketPort$/,
      ],
      [
        'application',
        true,
        (taken) => {
          const secretFile = path.join(folder, 'secret');
          writeFileSync(secretFile, 'x');
          return [
            ...['--set', 'tls.enabled=no', '--set', `applications.port=${taken}`],
            ...['--set', `applications.secretFile=${secretFile}`],
          ];
        },
        /with applications\.port$/,
      ],
      [
        'further',
        false,
        (taken) => {
          const file = path.join(folder, 'parley.toml');
          const listener = `transport = "udp"\naddress = "127.0.0.1"\nport = ${taken}\n`;
          writeFileSync(file, `[[sip.listeners]]\n${listener}`);
          return ['--config', file];
        },
        /with sip\.listeners\.0$/,
      ],
    ];
    for (const [what, isStream, words, setting] of others) {
      it(`says that its ${what} port is taken, and which setting gives it another`, async () => {
        const taken = (await freePorts(2)) + 1;
        port = taken - 1;
        const close = await occupy(taken, isStream);
        try {
          const sentence = await failure(await parley('serve', ...words(taken)));
          assert.match(sentence, setting);
          assert.ok(
            sentence.startsWith(
              `parley: cannot listen on 127.0.0.1:${taken}: another program has it; `,
            ),
            sentence,
          );
        } finally {
          await close();
        }
      });
    }

    it('says that it cannot keep its certificate', async () => {
      const data = path.join(folder, 'data');
      mkdirSync(data);
      writeFileSync(path.join(data, 'tls'), 'a file');
      const remedy = 'make that folder writable, or give a certificate of your own$';
      const made = new RegExp(`^parley: cannot keep a certificate in ${data}/tls: .*; ${remedy}`);
      assert.match(await failure(await parley('serve')), made);
      rmSync(path.join(data, 'tls'));
      // A folder in its place stands for a file system that takes no files; rights do not hold root.
      mkdirSync(path.join(data, 'tls', 'self-signed.key.pem.new'), { recursive: true });
      assert.match(await failure(await parley('serve')), made);
    });

    it('says that it cannot write its trace', async () => {
      for (const file of [folder, path.join(folder, 'missing', 'parley.pcap')]) {
        const sentence = await failure(await parley('serve', '--set', `trace.pcapFile=${file}`));
        assert.match(
          sentence,
          new RegExp(
            `^parley: cannot write the trace to ${file}: E.*; choose another file with trace\\.pcapFile, or leave it out$`,
          ),
        );
      }
    });

    it('says that this machine has no such address', async () => {
      const program = await parley('serve', '--set', 'sip.listenAddresses=192.0.2.123');
      assert.match(await failure(program), /cannot listen on 192\.0\.2\.123.*no such address/);
    });

    it('says that its data folder cannot be used', async () => {
      writeFileSync(path.join(folder, 'data'), 'a file');
      assert.match(await failure(await parley('serve')), /^parley: cannot keep data in .*data: /);
    });

    it('says so of a folder on a file system that takes none', async function () {
      if (process.platform !== 'linux') this.skip();
      const program = await parley('serve', '--data', '/proc/parley/data');
      assert.match(await failure(program), /^parley: cannot keep data in \/proc\/parley\/data: /);
    });

    it('says what is wrong in its configuration', async () => {
      const file = path.join(folder, 'parley.toml');
      writeFileSync(file, '[sip]\nprot = 5060\n');
      assert.match(
        await failure(await parley('serve', '--config', file)),
        /^parley: bad configuration: sip\.prot \(.*parley\.toml\): no such setting/,
      );
    });

    it('says that the external engine is not there', async () => {
      const program = await parley(
        'serve',
        ...[
          '--set',
          'engine.mode=drachtio',
          '--set',
          `engine.port=${port}`,
          '--set',
          'engine.secretFile=',
        ],
      );
      assert.match(await failure(program), /engine\.secretFile/);
      writeFileSync(path.join(folder, 'secret'), 'x');
      const absent = await parley(
        'serve',
        ...['--set', 'engine.mode=drachtio', '--set', `engine.port=${port}`],
        ...['--set', `engine.secretFile=${path.join(folder, 'secret')}`],
      );
      const words = await failure(absent);
      assert.match(words, new RegExp(`no SIP engine at 127\\.0\\.0\\.1:${port}: .*ECONNREFUSED`));
    });
  });
});

/** Takes a port on loopback away from whoever comes next. @returns what frees it */
async function occupy(port: number, isStream: boolean): Promise<() => Promise<void>> {
  if (isStream) {
    const server = createServer().listen(port, '127.0.0.1');
    await once(server, 'listening');
    return async () => {
      await once(server.close(), 'close');
    };
  }
  const socket = createSocket('udp4').bind(port, '127.0.0.1');
  await once(socket, 'listening');
  return async () => {
    await once(socket.close(), 'close');
  };
}
