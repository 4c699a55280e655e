import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { selfSignedIdentity } from '../../../../../registrar/engine/io/identity.ts';
import { RouteAsker } from '../../../../../registrar/engine/io/route-asker.ts';
import type { EngineInput } from '../../../../../registrar/engine/seam.ts';

type Outcome = Extract<EngineInput, { kind: 'routeAnswered' | 'routeUnanswered' }>;

describe('questions to web servers', () => {
  const asker = (authorities?: string): RouteAsker => {
    const made = new RouteAsker((input) => {
      outcomes.push(input as Outcome);
      wake();
    }, authorities);
    closers.push(() => {
      made.close();
      return Promise.resolve();
    });
    return made;
  };
  const closers: (() => Promise<unknown>)[] = [];
  let outcomes: Outcome[];
  let wake: () => void;
  let nextId: number;
  beforeEach(() => {
    outcomes = [];
    wake = (): void => undefined;
    nextId = 1;
  });
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  async function serve(
    listener: http.RequestListener,
    identity?: { cert: string; key: string },
  ): Promise<{ url: string; server: http.Server; sockets: Set<Socket> }> {
    const server =
      identity === undefined
        ? http.createServer(listener)
        : https.createServer({ ...identity }, listener);
    const sockets = new Set<Socket>();
    server.on('connection', (socket: Socket) => sockets.add(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    closers.push(
      () =>
        new Promise((resolve) => {
          for (const socket of sockets) socket.destroy();
          server.close(resolve);
        }),
    );
    const { port } = server.address() as AddressInfo;
    return {
      url: `${identity === undefined ? 'http' : 'https'}://127.0.0.1:${port}/r/?x=1`,
      server,
      sockets,
    };
  }

  async function until(isReached: () => boolean): Promise<void> {
    while (!isReached()) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }

  /** Asks, and waits for what comes of it. */
  async function ask(by: RouteAsker, url: string, body?: Buffer): Promise<string> {
    const questionId = nextId++;
    by.ask({ kind: 'askRoute', questionId, url, body });
    const find = (): Outcome | undefined =>
      outcomes.find((outcome) => outcome.questionId === questionId);
    await until(() => find() !== undefined);
    const outcome = find();
    return outcome?.kind === 'routeAnswered' ? outcome.body.toString() : (outcome?.reason ?? '');
  }

  it('bring back what was answered, whatever the status, over a connection that is kept', async () => {
    const seen: string[] = [];
    const { url, sockets } = await serve((request, response) => {
      seen.push(`${request.method ?? ''} ${request.url ?? ''} ${request.headers.accept ?? ''}`);
      response.statusCode = seen.length === 1 ? 200 : 404;
      response.write('{"a"');
      response.end(':1}');
    });
    const by = asker();
    assert.equal(await ask(by, url), '{"a":1}');
    assert.equal(await ask(by, url), '{"a":1}');
    assert.deepEqual(seen, Array(2).fill('GET /r/?x=1 application/json'));
    assert.equal(sockets.size, 1);
  });

  it('carry the request by POST', async () => {
    const { url } = await serve((request, response) => {
      const type = request.headers['content-type'] ?? '';
      request.once('data', (bytes: Buffer) => {
        response.end(`${request.method ?? ''} ${type} ${bytes.toString()}`);
      });
    });
    const body = Buffer.from('INVITE sip:bob@b SIP/2.0\r\n\r\n');
    assert.equal(
      await ask(asker(), url, body),
      `POST text/plain; charset=UTF-8 ${body.toString()}`,
    );
  });

  it('are unanswered when nobody is there, the answer is cut off, or is none of HTTP', async () => {
    const { url, server } = await serve((_request, response) => {
      response.setHeader('Content-Length', 100);
      response.write('{');
      response.socket?.end();
    });
    const by = asker();
    assert.equal(await ask(by, url), 'routeUnanswered');
    server.removeAllListeners('request').on('request', (request: http.IncomingMessage) => {
      request.socket.end('SIP/2.0 200 OK\r\n\r\n');
    });
    assert.equal(await ask(by, url), 'routeUnanswered');
    server.removeAllListeners('request').on('request', (request: http.IncomingMessage) => {
      request.socket.end(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n',
      );
    });
    assert.equal(await ask(by, url), 'routeUnanswered');
    await closers.pop()?.();
    await new Promise((resolve) => server.close(resolve));
    assert.equal(await ask(asker(), url), 'routeUnanswered');
  });

  it('take no answer of more than 16 kB', async () => {
    let isCut = false;
    const { url } = await serve((_request, response) => {
      response.once('close', () => {
        isCut = true;
        wake();
      });
      const more = (): void => {
        while (!response.destroyed && response.write(' '.repeat(8_192)));
        if (!response.destroyed) response.once('drain', more);
      };
      more();
    });
    assert.equal(await ask(asker(), url), 'routeTooLong');
    await until(() => isCut);
    assert.equal(outcomes.length, 1);
  });

  it('are asked again when the server closes a kept connection in that moment', async () => {
    let count = 0;
    const { url, sockets } = await serve((request, response) => {
      count += 1;
      if (count === 2) request.socket.resetAndDestroy();
      else response.end(String(count));
    });
    const by = asker();
    assert.equal(await ask(by, url), '1');
    assert.equal(await ask(by, url), '3');
    assert.equal(sockets.size, 2);
  });

  it('go away when they are dropped, and all when the engine ends', async () => {
    let open = 0;
    const { url } = await serve((_request, response) => {
      open += 1;
      response.once('close', () => {
        open -= 1;
        wake();
      });
      wake();
    });
    const by = asker();
    for (const questionId of [1, 2, 3]) {
      by.ask({ kind: 'askRoute', questionId, url, body: undefined });
    }
    await until(() => open === 3);
    by.drop(2);
    by.drop(2);
    by.drop(77);
    await until(() => open === 2);
    by.close();
    await until(() => open === 0);
    assert.deepEqual(outcomes, []);
  });

  it('open no more than 128 connections, and the rest waits', async () => {
    const waiting: http.ServerResponse[] = [];
    const { url, sockets } = await serve((_request, response) => {
      waiting.push(response);
      wake();
    });
    const by = asker();
    for (let questionId = 1; questionId <= 200; questionId++) {
      by.ask({ kind: 'askRoute', questionId, url, body: undefined });
    }
    await until(() => waiting.length === 128);
    let answered = 0;
    while (answered < 200) {
      await until(() => waiting.length > 0);
      for (const response of waiting.splice(0)) {
        answered += 1;
        response.end('{}');
      }
    }
    await until(() => outcomes.length === 200);
    assert.ok(outcomes.every(({ kind }) => kind === 'routeAnswered'));
    assert.ok(sockets.size <= 128, String(sockets.size));
  });

  it('by https believe the authorities of the operator, and nobody else', async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'parley-asker-'));
    closers.push(() => rm(folder, { recursive: true }));
    const identity = await selfSignedIdentity(folder, ['localhost', '127.0.0.1'], Date.now());
    const { url } = await serve((_request, response) => response.end('yes'), identity);
    assert.equal(await ask(asker(), url), 'routeUnanswered');
    assert.equal(await ask(asker(identity.cert), url), 'yes');
  });
});
