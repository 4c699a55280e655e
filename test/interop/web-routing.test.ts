/**
 * What becomes of requests about which a web server decides, the same for our engine and a drachtio-server. That one needs
 * `<request-handler sip-method="PUBLISH">http://127.0.0.1:PORT/route</request-handler>`, and its PORT in the environment.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import Drachtio from 'drachtio-srf';
import type { Srf } from '../../registrar/app/srf.ts';
import { disconnect } from '../../registrar/app/wire.ts';
import { startEngine, type EngineHandle } from '../../registrar/engine/public.ts';
import {
  externalEngine,
  nothingLeftIn,
  type EngineName,
  type EnginePlace,
} from '../support/sip-engines.ts';
import { SipPeer } from '../support/sip-peer.ts';

const LOOPBACK = '127.0.0.1';
const SECRET = 'not a secret';
const VARIABLE = 'PARLEY_TEST_DRACHTIO_WEB';
const PATIENCE_MS = 6_000;

type ListeningSrf = Srf & {
  connect(options: object): void;
  listen(options: object): Server;
  endSession(holder: object): void;
};

type Outcome = { status: number; reason?: string; contacts?: readonly string[]; by?: string };
type Row = {
  /** The user of the Request-URI, and the title. */
  readonly user: string;
  /** An object as JSON; undefined: nothing comes. */
  readonly answer: object | string | undefined;
  readonly httpStatus?: number;
  readonly outcome: Outcome;
  /** Where a drachtio-server does otherwise; `none`: it never answers. */
  readonly external?: Outcome | 'none';
};

const rowsFor = (places: { called: number; nobody: number; target: string }): readonly Row[] => [
  {
    user: 'reject',
    answer: { action: 'reject', data: { status: 486, reason: 'Nope' } },
    outcome: { status: 486, reason: 'Nope' },
  },
  {
    user: 'reject-without-reason',
    answer: { action: 'reject', data: { status: 404 } },
    outcome: { status: 404, reason: 'Not Found' },
  },
  {
    user: 'reject-by-http-404',
    answer: { action: 'reject', data: { status: 486 } },
    httpStatus: 404,
    outcome: { status: 486 },
  },
  {
    user: 'reject-with-success',
    answer: { action: 'reject', data: { status: 299 } },
    outcome: { status: 500 },
    external: { status: 299 },
  },
  {
    user: 'redirect',
    answer: { action: 'redirect', data: { contact: ['<sip:c@c.test>', '<sip:d@d.test>;q=0.5'] } },
    outcome: { status: 302, contacts: ['<sip:c@c.test>', '<sip:d@d.test>;q=0.5'] },
  },
  {
    user: 'proxy',
    answer: { action: 'proxy', data: { destination: places.target } },
    outcome: { status: 202, by: 'target' },
  },
  {
    user: 'tag',
    answer: { action: 'route', data: { tag: 'blue' } },
    outcome: { status: 202, by: 'blue' },
  },
  {
    user: 'tag-of-nobody',
    answer: { action: 'route', data: { tag: 'green' } },
    outcome: { status: 480 },
  },
  {
    user: 'uri',
    answer: { action: 'route', data: { uri: `${LOOPBACK}:${places.called}` } },
    outcome: { status: 202, by: 'called' },
  },
  {
    user: 'uri-with-transport',
    answer: { action: 'route', data: { uri: `${LOOPBACK}:${places.called};transport=tcp` } },
    outcome: { status: 202, by: 'called' },
  },
  {
    user: 'uri-of-nobody',
    answer: { action: 'route', data: { uri: `${LOOPBACK}:${places.nobody}` } },
    outcome: { status: 480 },
  },
  {
    user: 'uri-malformed',
    answer: { action: 'route', data: { uri: 'http:' } },
    outcome: { status: 500 },
    external: 'none',
  },
  { user: 'no-json', answer: '<html>', outcome: { status: 500 } },
  { user: 'nothing', answer: '', outcome: { status: 500 } },
  { user: 'list', answer: '[]', outcome: { status: 500 } },
  {
    user: 'unknown-action',
    answer: { action: 'shrug', data: {} },
    outcome: { status: 500 },
  },
  { user: 'without-data', answer: { action: 'reject' }, outcome: { status: 500 } },
  {
    user: 'too-long',
    answer: { action: 'reject', data: { status: 486 }, more: 'x'.repeat(20_000) },
    outcome: { status: 500 },
  },
  { user: 'silent', answer: undefined, outcome: { status: 500 } },
];

for (const name of ['embedded', 'drachtio-server'] as const satisfies readonly EngineName[]) {
  const webPort = name === 'embedded' ? 0 : Number(process.env[VARIABLE] ?? NaN);
  const isThere = name === 'embedded' || (externalEngine() !== undefined && webPort > 0);
  const title = isThere ? name : `${name}, skipped: ${VARIABLE} is not set`;

  (isThere ? describe : describe.skip)(`web servers that decide: ${title}`, function () {
    this.timeout(60_000);

    const closers: (() => Promise<unknown>)[] = [];
    let engine: EngineHandle | undefined;
    const asked: string[] = [];
    let rows: readonly Row[] = [];
    let place: EnginePlace;
    let phone: SipPeer;

    afterEach(async () => {
      if (engine !== undefined) await nothingLeftIn(engine);
    });
    after(async () => {
      for (const close of closers.splice(0).reverse()) await close();
    });

    async function startWebServer(): Promise<number> {
      const server = http.createServer((request, response) => {
        asked.push(request.url ?? '');
        const user = new URL(request.url ?? '/', 'http://x').searchParams.get('uriUser');
        const row = rows.find((candidate) => candidate.user === user);
        if (row?.answer === undefined) return;
        response.statusCode = row.httpStatus ?? 200;
        response.end(typeof row.answer === 'string' ? row.answer : JSON.stringify(row.answer));
      });
      server.listen(webPort, LOOPBACK);
      await once(server, 'listening');
      closers.push(
        () =>
          new Promise((resolve) => {
            server.closeAllConnections();
            server.close(resolve);
          }),
      );
      return (server.address() as AddressInfo).port;
    }

    async function startEmbedded(web: number): Promise<EnginePlace> {
      const started = await startEngine({
        listen: [{ transport: 'udp', address: LOOPBACK, port: 0 }],
        control: { address: LOOPBACK, port: 0 },
        secret: SECRET,
        requestHandlers: [{ method: 'PUBLISH', uri: `http://${LOOPBACK}:${web}/route` }],
      });
      engine = started;
      closers.push(() => started.stop());
      const port = started.listeners[0]?.local.port ?? 0;
      const sip = { address: LOOPBACK, port };
      return { host: LOOPBACK, controlPort: started.controlPort, secret: SECRET, sip };
    }

    /** An application that answers every PUBLISH with its name. */
    function application(by: string): ListeningSrf {
      const srf = new Drachtio() as unknown as ListeningSrf;
      srf.on('error', () => undefined);
      srf.on('connect', () => undefined);
      srf.use('publish', (request, response) => {
        response.send(202, { headers: { 'X-By': by } });
        if (by === 'called') srf.endSession(request);
      });
      return srf;
    }

    before(async () => {
      const web = await startWebServer();
      place = name === 'embedded' ? await startEmbedded(web) : (externalEngine() ?? assert.fail());
      const { host, controlPort, secret } = place;
      const called = application('called').listen({ host: LOOPBACK, port: 0, secret });
      await once(called, 'listening');
      closers.push(() => new Promise((resolve) => called.close(resolve)));
      const blue = application('blue');
      const connected = new Promise((resolve) => blue.once('connect', resolve));
      blue.connect({ host, port: controlPort, secret, tags: ['red', 'blue'] });
      await connected;
      closers.push(() => {
        disconnect(blue);
        return Promise.resolve();
      });
      phone = await SipPeer.open({ server: place.sip, user: 'alice', timeoutMs: PATIENCE_MS });
      const target = await SipPeer.open({ server: place.sip, user: 'target' });
      closers.push(
        () => phone.close(),
        () => target.close(),
      );
      void target.expectRequest('PUBLISH', 60_000).then(
        (request) => request.reply(202, { headers: { 'X-By': 'target' } }),
        () => undefined,
      );
      const { port } = called.address() as AddressInfo;
      rows = rowsFor({ called: port, nobody: 1, target: target.contactUri });
      // The routes follow the handshake.
      while ((await publish('tag'))?.status !== 202) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    });

    /** What the caller gets; undefined when nothing comes. */
    async function publish(user: string): Promise<Outcome | undefined> {
      const { address, port } = place.sip;
      const headers = { Event: 'presence' };
      const exchange = await phone.request('PUBLISH', `sip:${user}@${address}:${port};x=1`, {
        headers,
      });
      const answer = await exchange.final().catch(() => undefined);
      if (answer === undefined) return undefined;
      const { statusCode: status, reasonPhrase: reason } = answer;
      const contacts = answer.contacts.map(String);
      return { status, reason, contacts, by: answer.header('X-By') ?? '' };
    }

    for (const { user } of rowsFor({ called: 1, nobody: 1, target: '' })) {
      it(user, async () => {
        const row = rows.find((candidate) => candidate.user === user);
        assert.ok(row);
        const wanted = name === 'embedded' ? row.outcome : (row.external ?? row.outcome);
        const seen = await publish(user);
        if (wanted === 'none') {
          assert.equal(seen, undefined);
          return;
        }
        const compared = Object.fromEntries(
          Object.keys(wanted).map((key) => [key, seen?.[key as keyof Outcome]]),
        );
        assert.deepEqual(compared, wanted);
      });
    }

    it('are asked with the same fields', () => {
      const [first = ''] = asked;
      const { pathname, searchParams } = new URL(first, 'http://x');
      assert.equal(pathname, '/route/');
      const { address, port } = place.sip;
      assert.deepEqual(Object.fromEntries(searchParams), {
        method: 'PUBLISH',
        domain: address,
        protocol: 'udp',
        source_address: LOOPBACK,
        fromUser: 'alice',
        toUser: 'tag',
        uriUser: 'tag',
        contentType: '',
        uri: `sip:tag@${address}:${port};x=1`,
        x: '1',
      });
    });
  });
}
