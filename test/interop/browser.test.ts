import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { build } from 'esbuild';
import { chromium, type Browser, type Page } from 'playwright-core';
import { LiveSwitch } from '../support/live-switch.ts';
import { pathOf, requirePeer } from '../support/peers.ts';
import { SipPeer } from '../support/sip-peer.ts';
import type { BrowserSettings } from './browser/page.ts';

const PAGE = path.join(import.meta.dirname, 'browser/page.ts');
const PROGRAM = 'chromium';
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // The switch has made its certificate itself.
  '--ignore-certificate-errors',
];
const PATIENCE_MS = 30_000;
const PASSWORD = 'anna-secret';
const WEB_SOCKET_CONTACT = /^sip:[^@]+@[^@;]+\.invalid;transport=ws$/i;

describe('a browser (sip.js in Chromium)', function () {
  this.timeout(120_000);
  const parley = new LiveSwitch();
  let server: http.Server | undefined;
  let browser: Browser | undefined;
  let page: Page;
  let bruno: SipPeer;

  before(async function () {
    requirePeer(this, PROGRAM);
    await parley.start({ 'tls.webSocketPort': '0', 'tls.secureWebSocketPort': '0' });
    await parley.addAccounts([
      { user: 'anna', password: PASSWORD },
      { user: 'bruno', password: 'bruno-secret' },
    ]);
    server = await serve(await bundle());
    const executablePath = pathOf(PROGRAM);
    assert.ok(executablePath);
    browser = await chromium.launch({ executablePath, args: FLAGS, timeout: PATIENCE_MS });
  });
  beforeEach(async () => {
    assert.ok(browser && server);
    bruno = await SipPeer.open({
      server: parley.server,
      user: 'bruno',
      password: 'bruno-secret',
      domain: parley.domain,
    });
    await bruno.register();
    page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  });
  afterEach(async () => {
    await page.close();
    await bruno.close();
    parley.forgetBindings('anna');
    parley.forgetBindings('bruno');
    await parley.nothingLeft();
  });
  after(async () => {
    await browser?.close();
    server?.closeAllConnections();
    server?.close();
    await parley.stop();
  });

  /** As text: what the type stripper adds to functions is not known in the page. */
  const ask = async <T>(call: string, ...values: readonly unknown[]): Promise<T> =>
    page.evaluate<T>(`phone.${call}(${values.map((value) => JSON.stringify(value)).join(', ')})`);

  const register = async (
    transport: 'ws' | 'wss',
    more: Partial<BrowserSettings> = {},
  ): Promise<number> => {
    const { address, port } = parley.place(transport);
    const settings: BrowserSettings = {
      server: `${transport}://${address}:${port}`,
      user: 'anna',
      password: PASSWORD,
      domain: parley.domain,
      ...more,
    };
    return ask<number>('register', settings);
  };

  for (const transport of ['wss', 'ws'] as const) {
    it(`registers over ${transport.toUpperCase()}, writes and is written to, and goes`, async () => {
      assert.equal(await register(transport), 200);
      const [binding, ...others] = parley.bindingsOf('anna');
      assert.ok(binding && others.length === 0);
      assert.match(binding.contactUri, WEB_SOCKET_CONTACT);

      const text = 'Grüße aus dem Browser 😀';
      const sending = ask<number>('send', `sip:bruno@${parley.domain}`, text);
      const got = await bruno.expectRequest('MESSAGE', PATIENCE_MS);
      assert.equal(got.message.body.toString(), text);
      assert.equal(got.message.from().uriText, `sip:anna@${parley.domain}`);
      got.reply(200);
      assert.equal(await sending, 200);

      const answer = 'Grüße an den Browser 😀';
      const sent = await bruno.request('MESSAGE', `sip:anna@${parley.domain}`, {
        body: answer,
        contentType: 'text/plain;charset=utf-8',
      });
      await sent.final(200, PATIENCE_MS);
      assert.deepEqual(await page.evaluate('phone.received'), [
        {
          from: `sip:bruno@${parley.domain}`,
          contentType: 'text/plain;charset=utf-8',
          body: answer,
        },
      ]);

      assert.equal(await ask<number>('unregister'), 200);
      parley.isUnreachable('anna');
    });
  }

  it('is not let in with the wrong password', async () => {
    const status = await register('wss', { password: 'guessed' });
    assert.ok(status === 401 || status === 403, String(status));
    parley.isUnreachable('anna');
  });

  it('that was closed is known to be gone at once, and forgotten', async () => {
    assert.equal(await register('wss'), 200);
    await page.close();
    const sent = await bruno.request('MESSAGE', `sip:anna@${parley.domain}`, {
      body: 'still there?',
      contentType: 'text/plain',
    });
    await sent.final(480, PATIENCE_MS);
    parley.isUnreachable('anna');
  });
});

async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [PAGE],
    bundle: true,
    write: false,
    format: 'iife',
    platform: 'browser',
    logLevel: 'silent',
  });
  const [output] = outputFiles;
  assert.ok(output);
  return output.text;
}

/** A page with this script; the browser asks nobody else. */
async function serve(script: string): Promise<http.Server> {
  const server = http.createServer(({ url }, response) => {
    const isScript = url === '/phone.js';
    const type = isScript ? 'text/javascript' : 'text/html';
    response.writeHead(200, { 'Content-Type': `${type};charset=utf-8` });
    response.end(isScript ? script : '<!doctype html><script src="/phone.js"></script>');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}
