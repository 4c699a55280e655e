/** `parley serve` with applications of others: they connect, are connected to, and get what settings and a web server say. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import Drachtio from 'drachtio-srf';
import type { Dialog, Srf } from '../../registrar/app/srf.ts';
import { disconnect } from '../../registrar/app/wire.ts';
import { selfSignedIdentity } from '../../registrar/engine/public.ts';
import { freePorts } from '../support/free-ports.ts';
import { LiveSwitch } from '../support/live-switch.ts';
import { Program } from '../support/program.ts';
import { SipPeer } from '../support/sip-peer.ts';
import { SDP } from '../support/sip-texts.ts';

const PROGRAM = path.resolve(import.meta.dirname, '../../registrar/cli/parley.ts');
const LOOPBACK = '127.0.0.1';
const SECRET = 'of-the-applications';
const DOMAIN = 'parley.test';
const PATIENCE_MS = 30_000;

type OtherSrf = Srf & {
  connect(options: object): void;
  listen(options: object): Server;
  endSession(holder: object): void;
};

const TEXT = { body: 'hi', contentType: 'text/plain' };

type Identity = Awaited<ReturnType<typeof selfSignedIdentity>>;

describe('parley serve with applications of others', function () {
  this.timeout(120_000);

  let folder: string;
  let program: Program;
  let sipPort: number;
  let furtherPort: number;
  let controlPort: number;
  let identity: Identity;
  const closers: (() => Promise<unknown>)[] = [];
  const always: (() => Promise<unknown>)[] = [];
  /** What the web server says, by the user of the Request-URI. */
  const decisions = new Map<string, object | string>();
  /** The queries that it got. */
  const asked: URLSearchParams[] = [];
  /** Takes OPTIONS and INFO: Parley connects to it. */
  const called = new Drachtio() as unknown as OtherSrf;

  const inFolder = (name: string): string => path.join(folder, name);
  const writeIdentity = ({ cert, key }: Identity): void => {
    writeFileSync(inFolder('control.cert.pem'), cert);
    writeFileSync(inFolder('control.key.pem'), key);
  };
  const makeIdentity = (name: string): Promise<Identity> => {
    mkdirSync(inFolder(name));
    return selfSignedIdentity(inFolder(name), ['localhost', LOOPBACK], Date.now());
  };

  async function parley(...words: string[]): Promise<Program> {
    const args = ['--import', 'tsx', PROGRAM, ...words, '--config', inFolder('parley.toml')];
    const env = { ...process.env, PARLEY_APPLICATIONS_SECRET: SECRET };
    return Program.start(process.execPath, args, { name: `parley ${words[0] ?? ''}`, env });
  }

  /** Listens for Parley, and answers every OPTIONS and INFO. */
  async function listenForParley(options: object): Promise<number> {
    const server = called.listen({ host: LOOPBACK, port: 0, secret: SECRET, ...options });
    await once(server, 'listening');
    always.push(() => new Promise((resolve) => server.close(resolve)));
    return (server.address() as AddressInfo).port;
  }

  async function startWebServer(): Promise<number> {
    const server = http.createServer((request, response) => {
      const query = new URL(request.url ?? '/', 'http://x').searchParams;
      asked.push(query);
      const decision = decisions.get(query.get('uriUser') ?? '') ?? {
        action: 'route',
        data: { tag: 'parley' },
      };
      response.end(typeof decision === 'string' ? decision : JSON.stringify(decision));
    });
    server.listen(0, LOOPBACK);
    await once(server, 'listening');
    always.push(
      () =>
        new Promise((resolve) => {
          server.closeAllConnections();
          server.close(resolve);
        }),
    );
    return (server.address() as AddressInfo).port;
  }

  before(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'parley-applications-'));
    identity = await makeIdentity('first');
    writeIdentity(identity);
    const ports = await freePorts(4);
    [sipPort, furtherPort, controlPort] = [ports, ports + 2, ports + 3];
    called.on('error', () => undefined);
    called.on('connect', () => undefined);
    for (const method of ['options', 'info']) {
      called.use(method, (request, response) => {
        response.send(200, { headers: { 'X-By': `${method} of the called one` } });
        called.endSession(request);
      });
    }
    const [tcp, secure, web] = [
      await listenForParley({}),
      await listenForParley({ tls: identity }),
      await startWebServer(),
    ];
    writeFileSync(
      inFolder('parley.toml'),
      `
      dataFolder = "${inFolder('data')}"
      [sip]
      port = ${sipPort}
      domain = "${DOMAIN}"
      listenAddresses = ["${LOOPBACK}"]
      [[sip.listeners]]
      transport = "udp"
      address = "${LOOPBACK}"
      port = ${furtherPort}
      externalAddress = "203.0.113.9"
      externalPort = 7000
      [[sip.listeners]]
      transport = "tls"
      address = "${LOOPBACK}"
      port = ${sipPort + 1}
      [tls]
      enabled = false
      authoritiesFile = "${inFolder('control.cert.pem')}"
      [rtp]
      listenAddresses = ["${LOOPBACK}"]
      [applications]
      port = ${controlPort}
      tls = true
      certificateFile = "${inFolder('control.cert.pem')}"
      keyFile = "${inFolder('control.key.pem')}"
      methods = ["MESSAGE"]
      callRecords = true
      handlers = [
        { method = "OPTIONS", uri = "tcp://${LOOPBACK}:${tcp}" },
        { method = "INFO", uri = "tls://localhost:${secure}" },
        { method = "INVITE", uri = "http://${LOOPBACK}:${web}/route" },
      ]
      `,
    );
    for (const user of ['alice', 'bob']) {
      const adding = await parley('user', 'add', user, '--password-stdin');
      adding.endInput('secret\n');
      assert.equal(await adding.exited, 0, adding.describe());
    }
    program = await parley('serve');
    await program.waitFor(/What to do next/, PATIENCE_MS);
  });
  after(async () => {
    await program.stop();
    for (const close of always.reverse()) await close();
    rmSync(folder, { recursive: true, force: true });
  });
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
    decisions.clear();
    asked.length = 0;
  });

  async function peer(user: string, port = sipPort): Promise<SipPeer> {
    const server = { address: LOOPBACK, port };
    const opened = await SipPeer.open({ server, user, password: 'secret', domain: DOMAIN });
    closers.push(() => opened.close());
    return opened;
  }

  /** An application that has connected by TLS, and whose routes Parley has. */
  async function connected(
    prepare: (srf: OtherSrf) => void,
    tags: string[] = [],
    trusted: Identity = identity,
  ): Promise<OtherSrf> {
    const srf = new Drachtio() as unknown as OtherSrf;
    srf.on('error', () => undefined);
    prepare(srf);
    const welcome = new Promise((resolve) => srf.once('connect', resolve));
    const place = { host: LOOPBACK, port: controlPort, secret: SECRET, tags };
    srf.connect({ ...place, tls: { ca: trusted.cert } });
    closers.push(() => {
      disconnect(srf);
      return Promise.resolve();
    });
    await welcome;
    return srf;
  }

  /** Sends it until the answer has this status: routes follow the handshake. */
  async function until(status: number, send: () => Promise<number>): Promise<void> {
    const end = Date.now() + PATIENCE_MS;
    for (let seen = await send(); seen !== status; seen = await send()) {
      assert.ok(Date.now() < end, `${seen} instead of ${status}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  it('says where they connect', () => {
    assert.match(program.output, new RegExp(`Apps +127\\.0\\.0\\.1:${controlPort} by TLS`));
  });

  it('gives them the methods that are theirs, while one is connected, and keeps the others', async () => {
    const alice = await peer('alice');
    const message = async (): Promise<number> =>
      (await (await alice.request('MESSAGE', `sip:nobody@${DOMAIN}`, TEXT)).final()).statusCode;
    assert.equal(await message(), 404);
    const srf = await connected((other) => {
      other.use('message', (_request, response) => {
        response.send(202);
      });
      other.use('register', (_request, response) => {
        response.send(500);
      });
    });
    await until(202, message);
    await alice.register();
    disconnect(srf);
    await until(404, message);
  });

  it('connects to those that listen, by TCP and by TLS', async () => {
    const alice = await peer('alice');
    for (const method of ['OPTIONS', 'INFO']) {
      const exchange = await alice.request(method, `sip:x@${DOMAIN}`);
      const answer = await exchange.final(200);
      assert.equal(answer.header('X-By'), `${method.toLowerCase()} of the called one`);
    }
  });

  it('asks the web server who gets a call: nobody, an application by its tag, or the registrar', async () => {
    const alice = await peer('alice');
    const dialogs: Dialog[] = [];
    await connected(
      (srf) => {
        srf.use('invite', (request, response) => {
          void srf.createUAS(request, response, { localSdp: SDP }).then((dialog: Dialog) => {
            dialogs.push(dialog);
          });
        });
      },
      ['menu'],
    );
    decisions.set('refused', { action: 'reject', data: { status: 603, reason: 'Not Today' } });
    decisions.set('moved', { action: 'redirect', data: { contact: 'sip:new@example.test' } });
    decisions.set('menu', { action: 'route', data: { tag: 'menu' } });
    decisions.set('broken', '<html>');
    const refused = await alice.invite(`sip:refused@${DOMAIN}`, { sdp: SDP });
    assert.equal((await refused.rejected(603)).reasonPhrase, 'Not Today');
    const moved = await alice.invite(`sip:moved@${DOMAIN}`, { sdp: SDP });
    assert.equal((await moved.rejected(302)).header('Contact'), 'sip:new@example.test');
    const broken = await alice.invite(`sip:broken@${DOMAIN}`, { sdp: SDP });
    await broken.rejected(500);
    await (await alice.invite(`sip:nobody@${DOMAIN}`, { sdp: SDP })).rejected(404);
    const [query] = asked;
    assert.deepEqual(
      ['method', 'domain', 'fromUser', 'uriUser', 'protocol'].map((name) => query?.get(name)),
      ['INVITE', DOMAIN, 'alice', 'refused', 'udp'],
    );
    await until(200, async () => {
      const call = await alice.invite(`sip:menu@${DOMAIN}`, { sdp: SDP });
      const { statusCode } = (await call.outgoing?.final()) ?? assert.fail('not made');
      if (statusCode === 200) {
        await call.answered();
        await call.bye();
      }
      return statusCode;
    });
    assert.equal(dialogs.length, 1);
  });

  it('tells them of the calls of its own people', async () => {
    const records: string[] = [];
    await connected((srf) => {
      for (const name of ['cdr:attempt', 'cdr:start', 'cdr:stop']) {
        srf.on(name, (...details: readonly unknown[]) => {
          records.push([name, ...details.filter((detail) => typeof detail === 'string')].join(' '));
        });
      }
    });
    const [alice, bob] = [await peer('alice'), await peer('bob')];
    await bob.register();
    const call = await alice.invite(`sip:bob@${DOMAIN}`, { sdp: SDP_WITH_AUDIO });
    const incoming = await bob.expectCall();
    await incoming.answer(SDP_WITH_AUDIO);
    await call.answered();
    await call.bye();
    const end = Date.now() + PATIENCE_MS;
    const names = (): string[] =>
      records.map((record) => record.replace(/ [\d:.]+/, '').replace(/ $/, '')).sort();
    const expected = [
      'cdr:attempt application',
      // With the challenge, and with the answer to it.
      'cdr:attempt network',
      'cdr:attempt network',
      'cdr:start application uas',
      'cdr:start network uac',
      'cdr:stop application call-rejected',
      'cdr:stop application normal-release',
      'cdr:stop network normal-release',
    ];
    while (records.length < expected.length && Date.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.deepEqual(names(), expected);
  });

  it('listens on further sockets, under the address that others see', async () => {
    const [alice, bob] = [await peer('alice'), await peer('bob', furtherPort)];
    await bob.register();
    const call = await alice.invite(`sip:bob@${DOMAIN}`, { sdp: SDP_WITH_AUDIO });
    const incoming = await bob.expectRequest('INVITE');
    const [via] = incoming.message.headerValues('Via');
    assert.match(via ?? '', /^SIP\/2\.0\/UDP 203\.0\.113\.9:7000;/);
    assert.match(incoming.message.header('Contact') ?? '', /203\.0\.113\.9:7000/);
    incoming.reply(603);
    await call.rejected(603);
  });

  it('listens by TLS where only the list says so', async () => {
    const ca = readFileSync(inFolder('data/tls/self-signed.cert.pem'), 'utf8');
    const server = { address: LOOPBACK, port: sipPort + 1 };
    const phone = await SipPeer.open({
      server,
      transport: 'tls',
      tls: { ca },
      user: 'alice',
      password: 'secret',
      domain: DOMAIN,
    });
    closers.push(() => phone.close());
    await phone.register();
  });

  it('takes a new certificate for applications on SIGHUP, and keeps who is connected', async () => {
    const ofPort = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const options = { host: LOOPBACK, port: controlPort, rejectUnauthorized: false };
        const socket = tls.connect(options, () => {
          resolve(socket.getPeerCertificate().fingerprint256);
          socket.destroy();
        });
        socket.once('error', reject);
      });
    const before = await ofPort();
    let isClosed = false;
    await connected((srf) => srf.on('close', () => (isClosed = true)));
    writeIdentity(await makeIdentity('second'));
    program.signal('SIGHUP');
    await program.waitFor(/certificate was read again/, PATIENCE_MS);
    assert.notEqual(await ofPort(), before);
    assert.equal(isClosed, false);
    const { key } = await makeIdentity('third');
    const now = readFileSync(inFolder('control.key.pem'));
    writeFileSync(inFolder('control.key.pem'), key);
    program.signal('SIGHUP');
    await program.waitFor(
      /stays as it was: the key in .*control\.key\.pem is not that of/,
      PATIENCE_MS,
    );
    writeFileSync(inFolder('control.key.pem'), now);
  });

  it('shows applications the certificate of SIP when they have none of their own', async function () {
    if (process.env['PARLEY_TEST_SWITCH'] === 'drachtio-server') this.skip();
    const live = new LiveSwitch();
    closers.push(() => live.discard());
    await live.start({
      'tls.enabled': 'false',
      'applications.port': '0',
      'applications.tls': 'true',
      'applications.secret': SECRET,
    });
    const port = live.running.applicationPort ?? 0;
    const ca = readFileSync(live.certificateFile);
    const socket = tls.connect({ host: LOOPBACK, port, ca });
    await once(socket, 'secureConnect');
    socket.destroy();
    await live.running.reloadCertificate();
  });

  it('says in one sentence that their port is taken', async () => {
    const taken = createServer().listen(0, LOOPBACK);
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    try {
      const flags = [
        `applications.port=${port}`,
        'sip.port=0',
        'sip.listeners=',
        `dataFolder=${inFolder('other')}`,
      ];
      const failing = await parley('serve', ...flags.flatMap((flag) => ['--set', flag]));
      assert.equal(await failing.exited, 1, failing.describe());
      const where = `127\\.0\\.0\\.1:${port}`;
      assert.match(
        failing.errors,
        new RegExp(
          `^parley: cannot listen on ${where}: another program has it; .*applications\\.port$`,
          'm',
        ),
      );
    } finally {
      taken.close();
    }
  });
});

const SDP_WITH_AUDIO = [
  'v=0',
  'o=- 1 1 IN IP4 127.0.0.1',
  's=-',
  'c=IN IP4 127.0.0.1',
  't=0 0',
  'm=audio 40000 RTP/AVP 0',
  '',
].join('\r\n');
