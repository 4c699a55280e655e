import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { once } from 'node:events';
import { ControlError, RefusedError } from '../../../../core/errors.ts';
import { UdpChannel } from '../../../../media-relay/control/channel.ts';
import type { Dictionary } from '../../../../media-relay/control/dictionary.ts';
import { UdpControlServer } from '../../../../media-relay/control/udp-server.ts';
import { errorReply } from '../../../../media-relay/control/reply.ts';

describe('ng control server over UDP', () => {
  let server: UdpControlServer;
  let client: Socket;
  let handled: Dictionary[];
  let finish: (() => void) | undefined;

  beforeEach(async () => {
    handled = [];
    finish = undefined;
    server = await UdpControlServer.open({ host: '127.0.0.1', port: 0 }, async (request) => {
      handled.push(request);
      if (request['command'] === 'slow') {
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
      }
      if (request['command'] === 'much') return { result: 'ok', much: 'x'.repeat(70_000) };
      if (request['command'] === 'refuse') {
        return errorReply(new RefusedError('relay.test', 'not today', 488));
      }
      return { result: 'pong', count: handled.length };
    });
    client = createSocket('udp4');
    client.connect(server.address.port, server.address.host);
    await once(client, 'connect');
  });

  afterEach(() => {
    client.close();
    server.close();
  });

  async function ask(message: string | Buffer): Promise<string> {
    const reply = once(client, 'message') as Promise<[Buffer]>;
    client.send(message);
    return (await reply)[0].toString();
  }

  it('answers bencode with bencode and JSON with JSON, under the same cookie', async () => {
    assert.equal(await ask('a_1 d7:command4:pinge'), 'a_1 d5:counti1e6:result4:ponge');
    assert.equal(await ask('a_2 {"command":"ping"}'), 'a_2 {"result":"pong","count":2}');
  });

  it('answers a repeated cookie with the stored reply and does nothing again', async () => {
    const first = await ask('a_1 d7:command4:pinge');
    assert.equal(await ask('a_1 d7:command4:pinge'), first);
    assert.equal(await ask('a_1 d7:command4:pinge'), first);
    assert.equal(handled.length, 1);
  });

  it('works on a command once while copies of it arrive', async () => {
    const reply = once(client, 'message') as Promise<[Buffer]>;
    for (let copy = 0; copy < 3; copy++) client.send('a_1 d7:command4:slowe');
    await ask('a_2 d7:command4:pinge');
    assert.equal(handled.filter(({ command }) => command === 'slow').length, 1);
    const slow = once(client, 'message') as Promise<[Buffer]>;
    finish?.();
    assert.match((await slow)[0].toString(), /^a_1 /u);
    await reply;
  });

  it('takes the same cookie from another client for another request', async () => {
    await ask('a_1 d7:command4:pinge');
    const other = createSocket('udp4');
    const reply = once(other, 'message') as Promise<[Buffer]>;
    other.send('a_1 d7:command4:pinge', server.address.port, server.address.host);
    assert.equal((await reply)[0].toString(), 'a_1 d5:counti2e6:result4:ponge');
    other.close();
  });

  for (const [name, body] of [
    ['half a dictionary', 'd7:command'],
    ['a number', 'i1e'],
    ['a list', 'le'],
    ['half of JSON', '{"command":'],
    ['text', 'hello'],
    ['nothing', ''],
    ['bytes', '\u0000\u0001\u0002'],
    ['nesting', 'd1:a'.repeat(100)],
  ] as const) {
    it(`answers ${name} with an error`, async () => {
      assert.match(await ask(`a_1 ${body}`), /^a_1 .*error-reason/u);
      assert.equal(handled.length, 0);
    });
  }

  it('stays silent without a cookie, and goes on', async () => {
    for (const datagram of ['', ' ', 'nocookie', ' d7:command4:pinge', `${'c'.repeat(300)} de`]) {
      client.send(datagram);
    }
    client.send(Buffer.alloc(60_000, 0x64));
    client.send(Buffer.from([0xff, 0xfe, 0x20, 0x64, 0x65]));
    assert.match(await ask('a_9 d7:command4:pinge'), /^a_9 /u);
    assert.equal(handled.length, 1);
  });

  it('answers with an error when the answer fits no datagram', async () => {
    assert.match(await ask('a_1 {"command":"much"}'), /"error-code":"relay\.reply\.too-large"/u);
  });

  it('passes on code and status of a failure', async () => {
    assert.equal(
      await ask('a_1 {"command":"refuse"}'),
      'a_1 {"result":"error","error-reason":"not today","error-code":"relay.test","sip-status":488}',
    );
  });
});

describe('ng client over UDP', () => {
  it('retransmits under the same cookie until the answer comes', async () => {
    const server = createSocket('udp4');
    server.bind(0, '127.0.0.1');
    await once(server, 'listening');
    const cookies: string[] = [];
    server.on('message', (datagram, { port, address }) => {
      const cookie = datagram.toString().split(' ')[0] ?? '';
      cookies.push(cookie);
      if (cookies.length === 2) server.send('garbage', port, address);
      if (cookies.length === 2) server.send(`${cookie} garbage`, port, address);
      if (cookies.length === 3) server.send(`${cookie} d6:result4:ponge`, port, address);
    });
    const remote = { host: '127.0.0.1', port: server.address().port };
    const channel = await UdpChannel.open(remote, 10_000);
    const reply = await channel.request({ command: 'ping' });
    assert.equal(reply['result'], 'pong');
    assert.equal(cookies.length, 3);
    assert.equal(new Set(cookies).size, 1);
    channel.close('done');
    server.close();
  });

  it('gives up at its deadline, and at once when it is closed', async () => {
    const silent = createSocket('udp4');
    silent.bind(0, '127.0.0.1');
    await once(silent, 'listening');
    const remote = { host: '127.0.0.1', port: silent.address().port };
    const channel = await UdpChannel.open(remote, 50);
    const hasCode =
      (code: string) =>
      (error: unknown): boolean =>
        error instanceof ControlError && error.code === code;
    await assert.rejects(channel.request({ command: 'ping' }), hasCode('relay.timeout'));
    const waiting = channel.request({ command: 'ping' });
    channel.close('enough');
    await assert.rejects(waiting, hasCode('relay.closed'));
    await assert.rejects(channel.request({ command: 'ping' }), hasCode('relay.closed'));
    silent.close();
  });

  it('does not mind that nobody listens yet', async () => {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const { port } = socket.address();
    socket.close();
    const channel = await UdpChannel.open({ host: '127.0.0.1', port }, 300);
    await assert.rejects(channel.request({ command: 'ping' }), ControlError);
    channel.close('done');
  });
});
