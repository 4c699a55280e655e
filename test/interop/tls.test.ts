import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { selfSignedIdentity } from '../../registrar/engine/public.ts';
import { freePorts } from '../support/free-ports.ts';
import { Program } from '../support/program.ts';
import { SipPeer, type PeerOptions } from '../support/sip-peer.ts';

const PROGRAM = path.resolve(import.meta.dirname, '../../registrar/cli/parley.ts');
const PATIENCE_MS = 30_000;
const LOOPBACK = '127.0.0.1';

const fingerprintOf = (pem: string): string => new X509Certificate(pem).fingerprint256;

describe('TLS', function () {
  this.timeout(120_000);
  let folder: string;
  let port: number;
  const programs: Program[] = [];
  const peers: SipPeer[] = [];

  beforeEach(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'parley-tls-'));
    port = await freePorts(4);
  });
  afterEach(async () => {
    await Promise.all(peers.splice(0).map((peer) => peer.close()));
    for (const program of programs.splice(0)) await program.stop();
    await rm(folder, { recursive: true });
  });

  /** `settings` are configuration keys and their text. */
  const run = async (
    settings: Readonly<Record<string, string>> = {},
    words: readonly string[] = [],
  ): Promise<Program> => {
    const flags = Object.entries(settings).flatMap(([key, text]) => ['--set', `${key}=${text}`]);
    const program = await Program.start(
      process.execPath,
      ['--import', 'tsx', PROGRAM, 'serve', ...words, ...flags],
      {
        name: 'parley serve',
        env: {
          ...process.env,
          PORT: String(port),
          PARLEY_DATA_FOLDER: path.join(folder, 'data'),
          PARLEY_SIP_DOMAIN: 'parley.test',
          PARLEY_SIP_LISTEN_ADDRESSES: LOOPBACK,
          PARLEY_RTP_LISTEN_ADDRESSES: LOOPBACK,
        },
      },
    );
    programs.push(program);
    return program;
  };
  const serve = async (...words: Parameters<typeof run>): Promise<Program> => {
    const program = await run(...words);
    await program.waitFor(/What to do next/, PATIENCE_MS);
    return program;
  };

  const places = {
    tls: (): { address: string; port: number } => ({ address: LOOPBACK, port: port + 1 }),
    wss: (): { address: string; port: number } => ({ address: LOOPBACK, port: port + 2 }),
  };
  const WSS = (): Record<string, string> => ({ 'tls.secureWebSocketPort': String(port + 2) });

  const peer = async (
    transport: 'tls' | 'wss',
    options: PeerOptions['tls'] = {},
  ): Promise<SipPeer> => {
    const opened = await SipPeer.open({ server: places[transport](), transport, tls: options });
    peers.push(opened);
    return opened;
  };
  const isServed = async (by: SipPeer): Promise<void> => {
    await (await by.request('OPTIONS', 'sip:parley.test')).final(200);
  };

  /** The certificate that a new connection is shown, and the version that it comes to. */
  const handshake = async (
    transport: 'tls' | 'wss',
    options: tls.ConnectionOptions = {},
  ): Promise<{ fingerprint: string; version: string | null }> => {
    const { address: host, port: at } = places[transport]();
    const socket = tls.connect({ host, port: at, rejectUnauthorized: false, ...options });
    try {
      await once(socket, 'secureConnect');
      const { fingerprint256: fingerprint } = socket.getPeerCertificate();
      return { fingerprint, version: socket.getProtocol() };
    } finally {
      socket.destroy();
    }
  };

  /** A certificate of the operator's own making. */
  const identity = async (name: string): Promise<{ cert: string; key: string }> =>
    selfSignedIdentity(path.join(folder, name), [name, LOOPBACK], Date.now());

  const files = async (): Promise<{ cert: string; key: string; settings: typeof WSS }> => {
    const cert = path.join(folder, 'operator.cert.pem');
    const key = path.join(folder, 'operator.key.pem');
    const made = await identity('first.test');
    await writeFile(cert, made.cert);
    await writeFile(key, made.key);
    const settings = (): Record<string, string> => ({
      ...WSS(),
      'tls.certificateFile': cert,
      'tls.keyFile': key,
    });
    return { cert, key, settings };
  };

  it('is served with a certificate of its own that a client can check, and speaks 1.2 and 1.3, but not 1.1', async () => {
    await serve(WSS());
    const ca = await readFile(path.join(folder, 'data/tls/self-signed.cert.pem'), 'utf8');
    for (const transport of ['tls', 'wss'] as const) {
      for (const servername of ['parley.test', 'localhost']) {
        await isServed(await peer(transport, { ca, servername }));
      }
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
        const only = { minVersion: version, maxVersion: version };
        await isServed(await peer(transport, only));
        assert.equal((await handshake(transport, only)).version, version);
      }
      // Our own side would refuse so old a version without a lower level of security.
      const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' };
      await assert.rejects(
        handshake(transport, old as tls.ConnectionOptions),
        /protocol version|alert/i,
      );
      await assert.rejects(peer(transport, { ca, servername: 'elsewhere.test' }), /altnames/i);
    }
  });

  it('serves whatever name a client asks for (SNI), and clients that ask for none', async () => {
    await serve(WSS());
    const expected = fingerprintOf(
      await readFile(path.join(folder, 'data/tls/self-signed.cert.pem'), 'utf8'),
    );
    for (const transport of ['tls', 'wss'] as const) {
      for (const servername of ['', 'parley.test', 'nobody.invalid']) {
        assert.equal((await handshake(transport, { servername })).fingerprint, expected);
        await isServed(await peer(transport, { servername }));
      }
    }
  });

  it('takes another certificate on SIGHUP for new connections, and leaves the old ones alone', async () => {
    const { cert, key, settings } = await files();
    const program = await serve(settings());
    const first = fingerprintOf(await readFile(cert, 'utf8'));
    const old = { tls: await peer('tls'), wss: await peer('wss') };
    const second = await identity('second.test');
    await writeFile(cert, second.cert);
    await writeFile(key, second.key);
    assert.equal((await handshake('tls')).fingerprint, first);
    program.signal('SIGHUP');
    await program.waitFor(/The certificate was read again/, PATIENCE_MS);
    for (const transport of ['tls', 'wss'] as const) {
      assert.equal((await handshake(transport)).fingerprint, fingerprintOf(second.cert));
      await isServed(await peer(transport, { ca: second.cert, servername: 'second.test' }));
      await isServed(old[transport]);
      assert.equal(old[transport].connectionCount, 1);
    }
  });

  it('keeps the certificate that it has when the files on SIGHUP are no good, and says so', async () => {
    const { key, settings } = await files();
    const program = await serve(settings());
    const { fingerprint } = await handshake('tls');
    await writeFile(key, (await identity('other.test')).key);
    program.signal('SIGHUP');
    await program.waitFor(
      /The certificate stays as it was: the key in .* is not that of/,
      PATIENCE_MS,
    );
    assert.equal((await handshake('tls')).fingerprint, fingerprint);
    await isServed(await peer('tls'));
  });

  it('survives connections that speak something else, and handshakes that end in the middle', async () => {
    await serve(WSS());
    const { address: host, port: at } = places.tls();
    for (const bytes of [
      Buffer.from('OPTIONS sip:parley.test SIP/2.0\r\n\r\n'),
      createHash('sha512').update('noise').digest(),
      Buffer.from('160301', 'hex'),
    ]) {
      const socket = net.connect(at, host);
      await once(socket, 'connect');
      socket.on('error', () => undefined);
      socket.end(bytes);
      socket.resume();
      await once(socket, 'close');
    }
    await isServed(await peer('tls'));
  });

  describe('with certificates for several names', () => {
    const NAMES = ['first.test', '*.example.test', 'phone.example.test'] as const;
    type Pair = { cert: string; key: string };
    const fileOf = (name: string, kind: keyof Pair): string =>
      path.join(folder, `${name.replace('*', 'any')}.${kind}.pem`);

    const keep = async (name: string, { cert, key }: Pair): Promise<void> => {
      await writeFile(fileOf(name, 'cert'), cert);
      await writeFile(fileOf(name, 'key'), key);
    };
    /** Makes a pair for each, and a configuration with the first alone and the others in the list. */
    const made = async (): Promise<{ pairs: Map<string, Pair>; config: string }> => {
      const pairs = new Map<string, Pair>();
      for (const name of NAMES) {
        const at = path.join(folder, 'made', name.replace('*', 'any'));
        const pair = await selfSignedIdentity(at, [name], Date.now());
        pairs.set(name, pair);
        await keep(name, pair);
      }
      const linesOf = (name: string): string =>
        `certificateFile = "${fileOf(name, 'cert')}"\nkeyFile = "${fileOf(name, 'key')}"\n`;
      const [first, ...others] = NAMES;
      const list = others.map((name) => `[[tls.certificates]]\n${linesOf(name)}`);
      const config = path.join(folder, 'parley.toml');
      await writeFile(config, `[tls]\n${linesOf(first)}${list.join('')}`);
      return { pairs, config };
    };

    const CHOICES: readonly (readonly [asked: string, shown: (typeof NAMES)[number]])[] = [
      ['', 'first.test'],
      ['first.test', 'first.test'],
      ['sip.example.test', '*.example.test'],
      ['phone.example.test', 'phone.example.test'],
      ['PHONE.Example.TEST', 'phone.example.test'],
      ['a.b.example.test', 'first.test'],
      ['example.test', 'first.test'],
      ['nobody.invalid', 'first.test'],
      ['not_a..name', 'first.test'],
    ];

    it('shows each client that of the name which it asks for, and others the first', async () => {
      const { pairs, config } = await made();
      await serve(WSS(), ['--config', config]);
      for (const transport of ['tls', 'wss'] as const) {
        for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
          for (const [servername, name] of CHOICES) {
            const shown = await handshake(transport, {
              servername,
              minVersion: version,
              maxVersion: version,
            });
            const expected = fingerprintOf(pairs.get(name)?.cert ?? '');
            assert.equal(shown.fingerprint, expected, `${transport} ${version} ${servername}`);
            assert.equal(shown.version, version);
          }
        }
        for (const [servername, name] of [
          ['first.test', 'first.test'],
          ['sip.example.test', '*.example.test'],
          ['phone.example.test', 'phone.example.test'],
        ] as const) {
          await isServed(await peer(transport, { ca: pairs.get(name)?.cert ?? '', servername }));
        }
      }
    });

    it('shows them to OpenSSL too', async function () {
      const { pairs, config } = await made();
      await serve({}, ['--config', config]);
      const { address, port: at } = places.tls();
      for (const [servername, name] of CHOICES.filter(([asked]) => /^[a-z.]+$/.test(asked))) {
        const args = ['s_client', '-connect', `${address}:${at}`, '-servername', servername];
        const asking = spawn('openssl', args, { stdio: ['pipe', 'pipe', 'ignore'] });
        const hasStarted = await new Promise<boolean>((resolve) => {
          asking.once('spawn', () => {
            resolve(true);
          });
          asking.once('error', () => {
            resolve(false);
          });
        });
        if (!hasStarted) this.skip();
        asking.stdin.end('Q\n');
        const output = (await asking.stdout.toArray()).join('');
        const [pem = ''] =
          /-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/.exec(output) ?? [];
        assert.equal(fingerprintOf(pem), fingerprintOf(pairs.get(name)?.cert ?? ''), servername);
      }
    });

    it('reads all of them again on SIGHUP, or none', async () => {
      const { pairs, config } = await made();
      const program = await serve(WSS(), ['--config', config]);
      const shownTo = async (servername: string): Promise<string[]> => [
        (await handshake('tls', { servername })).fingerprint,
        (await handshake('wss', { servername })).fingerprint,
      ];
      const old = await peer('tls', {
        ca: pairs.get('*.example.test')?.cert ?? '',
        servername: 'x.example.test',
      });
      const renewed = await Promise.all(
        NAMES.map((name) =>
          selfSignedIdentity(
            path.join(folder, 'again', name.replace('*', 'any')),
            [name],
            Date.now(),
          ),
        ),
      );
      const [first, any, phone] = renewed;
      assert.ok(first && any && phone);
      await keep(NAMES[0], first);
      await keep(NAMES[1], any);
      await keep(NAMES[2], { cert: phone.cert, key: any.key });
      program.signal('SIGHUP');
      await program.waitFor(/The certificate stays as it was: the key in/, PATIENCE_MS);
      for (const [asked, name] of [
        ['', NAMES[0]],
        ['x.example.test', NAMES[1]],
      ] as const) {
        const before = fingerprintOf(pairs.get(name)?.cert ?? '');
        assert.deepEqual(await shownTo(asked), [before, before]);
      }
      await keep(NAMES[2], phone);
      program.signal('SIGHUP');
      await program.waitFor(/The certificate was read again/, PATIENCE_MS);
      for (const [asked, { cert }] of [
        ['', first],
        ['x.example.test', any],
        ['phone.example.test', phone],
      ] as const) {
        assert.deepEqual(await shownTo(asked), [fingerprintOf(cert), fingerprintOf(cert)]);
      }
      await isServed(old);
      assert.equal(old.connectionCount, 1);
    });

    it('says which of them cannot be read', async () => {
      const { config } = await made();
      await rm(fileOf(NAMES[2], 'key'));
      const program = await run({}, ['--config', config]);
      assert.equal(await program.exited, 1, program.describe());
      assert.match(
        program.errors,
        /^parley: cannot read \S*phone\.example\.test\.key\.pem: .*ENOENT.*\n$/,
      );
    });
  });

  describe('with files that will not do', () => {
    const failure = async (settings: Readonly<Record<string, string>>): Promise<string> => {
      const program = await run(settings);
      assert.equal(await program.exited, 1, program.describe());
      const sentences = program.errors
        .trimEnd()
        .split('\n')
        .filter((line) => !line.startsWith('{'));
      assert.equal(sentences.length, 1, program.errors);
      return sentences[0] ?? '';
    };

    it('says which file cannot be read', async () => {
      const { settings } = await files();
      const missing = { ...settings(), 'tls.certificateFile': path.join(folder, 'missing.pem') };
      assert.match(await failure(missing), /^parley: cannot read \S*missing\.pem: .*ENOENT/);
      const authorities = { 'tls.authoritiesFile': path.join(folder, 'missing.pem') };
      assert.match(
        await failure(authorities),
        /^parley: cannot read tls\.authoritiesFile \S*missing\.pem: .*ENOENT/,
      );
    });

    it('says that they must be PEM', async () => {
      const { cert, settings } = await files();
      await writeFile(cert, 'not a certificate');
      assert.match(
        await failure(settings()),
        /^parley: \S*operator\.cert\.pem and \S*operator\.key\.pem must hold a certificate and its private key in PEM/,
      );
    });

    it('says that the key is not that of the certificate', async () => {
      const { key, settings } = await files();
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      await writeFile(key, privateKey.export({ type: 'pkcs8', format: 'pem' }));
      assert.match(
        await failure(settings()),
        /^parley: the key in \S*operator\.key\.pem is not that of \S*operator\.cert\.pem/,
      );
    });

    it('says that one of them alone is not enough', async () => {
      const { cert } = await files();
      assert.match(await failure({ 'tls.certificateFile': cert }), /^parley: .*tls\.keyFile/);
    });
  });
});
