import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import Drachtio from 'drachtio-srf';
import fc from 'fast-check';
import { ControlError } from '../../../../core/errors.ts';
import { nullLog } from '../../../../core/log.ts';
import { sendRequest } from '../../../../registrar/app/srf.ts';
import type { SipRequest, SipResponse, Srf } from '../../../../registrar/app/srf.ts';
import {
  caughtUp,
  disconnect,
  FrameReader,
  fromBytes,
  keepBytes,
  toBytes,
} from '../../../../registrar/app/wire.ts';

const ALL_BYTES = Buffer.from(Array.from({ length: 256 }, (_, index) => index));

describe('bytes as text', () => {
  it('keeps all 256 byte values', () => {
    assert.deepEqual(toBytes(fromBytes(ALL_BYTES)), ALL_BYTES);
  });

  it('keeps any bytes at all', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const buffer = Buffer.from(bytes);
        assert.deepEqual(toBytes(fromBytes(buffer)), buffer);
      }),
      { seed: 1, numRuns: 2000 },
    );
  });

  it('leaves UTF-8 what it is, astral characters included', () => {
    const text = 'naïve 😀 日本 \u{10ffff}';
    assert.equal(fromBytes(Buffer.from(text)), text);
    assert.equal(toBytes(text).toString(), text);
  });

  it('keeps text and stray bytes side by side', () => {
    const bytes = Buffer.concat([
      Buffer.from('😀'),
      Buffer.of(0xff, 0xed, 0xa0, 0x80),
      Buffer.from('é'),
      Buffer.of(0xc3),
    ]);
    assert.deepEqual(toBytes(fromBytes(bytes)), bytes);
    assert.ok(fromBytes(bytes).includes('é'));
  });
});

describe('control frames', () => {
  it('come whole, however the stream is cut', () => {
    const stream = Buffer.concat([Buffer.from('5#hello3#'), ALL_BYTES.subarray(0, 3)]);
    for (let size = 1; size <= stream.length; size++) {
      const reader = new FrameReader();
      const payloads: Buffer[] = [];
      for (let at = 0; at < stream.length; at += size) {
        payloads.push(...reader.push(stream.subarray(at, at + size)));
      }
      assert.deepEqual(payloads, [Buffer.from('hello'), ALL_BYTES.subarray(0, 3)]);
    }
  });

  it('that are none are refused', () => {
    for (const text of ['#x', 'x', '12345678901#', 'SIP/2.0 200 OK']) {
      assert.throws(
        () => new FrameReader().push(Buffer.from(text)),
        (error) => error instanceof ControlError && error.code === 'engine.frame.malformed',
      );
    }
  });
});

describe('drachtio-srf over the transparent wire', () => {
  let server: ReturnType<typeof createServer>;
  let socket: Socket;
  let srf: Srf;
  const frames: Buffer[] = [];
  let arrived: () => void;

  const nextFrame = async (): Promise<Buffer> => {
    for (;;) {
      const frame = frames.shift();
      if (frame !== undefined) return frame;
      await new Promise<void>((resolve) => {
        arrived = resolve;
      });
    }
  };
  const send = (...parts: (string | Buffer)[]): void => {
    const payload = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
    socket.write(Buffer.concat([Buffer.from(`${payload.length}#`), payload]));
  };
  const idOf = (frame: Buffer): string => frame.toString('latin1').split('|')[0] ?? '';

  beforeEach(async () => {
    frames.length = 0;
    arrived = () => undefined;
    server = createServer((accepted) => {
      socket = accepted;
      const reader = new FrameReader();
      accepted.on('data', (chunk) => {
        frames.push(...reader.push(chunk));
        arrived();
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    srf = new Drachtio() as unknown as Srf;
    srf.on('error', () => undefined);
    const connected = new Promise<void>((resolve) => {
      srf.on('connect', () => {
        resolve();
      });
    });
    const { port } = server.address() as AddressInfo;
    srf.connect({ host: '127.0.0.1', port, secret: 'x' });
    keepBytes(srf, nullLog);
    const login = await nextFrame();
    send(`1|response|${idOf(login)}|OK|udp/127.0.0.1:5060|v0.9.0|udp/127.0.0.1:5060`);
    await connected;
  });

  afterEach(async () => {
    disconnect(srf);
    socket.destroy();
    server.close();
    await once(server, 'close');
  });

  it('tells when the engine has dealt with what was sent before, and not sooner', async () => {
    srf.use('options', () => undefined);
    let isCaughtUp = false;
    const caught = caughtUp(srf).then(() => (isCaughtUp = true));
    const route = await nextFrame();
    assert.match(route.toString(), /\|route\|options$/);
    const ping = await nextFrame();
    assert.match(ping.toString(), /\|ping$/);
    send(`2|response|${idOf(route)}|OK`);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(isCaughtUp, false);
    send(`3|response|${idOf(ping)}|OK|pong`);
    await caught;
  });

  it('says so when there is no engine to catch up', async () => {
    disconnect(srf);
    for (;;) {
      try {
        void caughtUp(srf);
      } catch (error) {
        assert.ok(error instanceof ControlError && error.code === 'engine.closed');
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });

  it('brings a body of all byte values to the application and back out', async () => {
    const received = new Promise<[SipRequest, SipResponse]>((resolve) => {
      srf.use('message', (request, response) => {
        resolve([request, response]);
      });
    });
    send(
      '2|sip|network|500|udp|127.0.0.1|5070|10:00:00.000000|txn-1||127.0.0.1|5060|\r\n',
      'MESSAGE sip:bob@example.net SIP/2.0\r\nFrom: "Zoë" <sip:alice@example.net>;tag=1\r\n',
      'To: <sip:bob@example.net>\r\nCall-ID: c1\r\nCSeq: 1 MESSAGE\r\nContent-Type: x/y\r\n',
      `Content-Length: ${ALL_BYTES.length}\r\n\r\n`,
      ALL_BYTES,
    );
    const [request] = await received;
    assert.deepEqual(toBytes(request.body ?? ''), ALL_BYTES);
    assert.match(request.get('From') ?? '', /"Zoë"/);

    const sent = sendRequest(srf, {
      method: 'MESSAGE',
      uri: 'sip:bob@127.0.0.1:5080',
      headers: { From: request.get('From') ?? '', 'Content-Type': 'x/y' },
      body: request.body ?? '',
    });
    let frame = await nextFrame();
    while (!frame.includes('MESSAGE sip:bob')) frame = await nextFrame();
    const body = frame.subarray(frame.indexOf('\r\n\r\n') + 4);
    assert.deepEqual(body, ALL_BYTES);
    assert.ok(frame.includes(Buffer.from('"Zoë"')));
    const start = frame.indexOf('MESSAGE sip:bob');
    send(
      `3|response|${idOf(frame)}|OK|application|9|udp|127.0.0.1|5060|10:00:00.0|txn-2|Msg sent:|\r\n`,
      frame.subarray(start),
    );
    send(
      '4|sip|network|9|udp|127.0.0.1|5080|10:00:00.000000|txn-2||\r\n',
      'SIP/2.0 200 OK\r\nCall-ID: c2\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n',
    );
    assert.equal((await sent).status, 200);
  });

  it('refuses to send what this engine cannot take', async () => {
    keepBytes(srf, nullLog, 12_000);
    await assert.rejects(
      sendRequest(srf, { method: 'MESSAGE', uri: 'sip:b@127.0.0.1', body: 'x'.repeat(12_000) }),
      ControlError,
    );
  });

  it('refuses to send what the protocol cannot carry, and goes on', async () => {
    await assert.rejects(
      sendRequest(srf, { method: 'MESSAGE', uri: 'sip:b@127.0.0.1', body: 'x'.repeat(100_000) }),
      ControlError,
    );
  });
});
