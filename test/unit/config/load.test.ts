import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parse as parseToml } from 'smol-toml';
import { CONFIG_KEYS } from '../../../config/keys.ts';
import { listeningPlaces } from '../../../config/listeners.ts';
import { loadConfig, type ConfigSources } from '../../../config/load.ts';
import { ConfigError } from '../../../core/errors.ts';

const EXAMPLE = path.resolve(import.meta.dirname, '../../../config/parley.example.toml');

describe('configuration', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'parley-config-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  const write = (text: string): string => {
    const file = path.join(folder, 'parley.toml');
    writeFileSync(file, text);
    return file;
  };
  const messageOf = (sources: ConfigSources): string => {
    try {
      loadConfig(sources);
    } catch (error) {
      assert.ok(error instanceof ConfigError, String(error));
      return error.message;
    }
    throw new assert.AssertionError({ message: 'accepted' });
  };

  it('needs no file', () => {
    const config = loadConfig({ environment: {} });
    assert.equal(config.sip.port, 5060);
    assert.deepEqual(config.sip.listenAddresses, ['0.0.0.0', '::']);
    assert.equal(config.dataFolder, './data');
    assert.deepEqual(config.digest.algorithms, ['SHA-256', 'MD5']);
    assert.deepEqual(
      config.rooms.list.map(({ name }) => name),
      ['lobby'],
    );
    assert.equal(config.rtp.portMin, 16384);
    assert.equal(config.rtp.portMax, 32767);
  });

  it('lets the environment go before the file, and flags before both', () => {
    const file = write(
      '[sip]\nport = 1111\n[log]\nlevel = "error"\n[calls]\nringTimeoutSeconds = 7\n',
    );
    const environment = { PORT: '2222', PARLEY_LOG_LEVEL: 'debug' };
    const fromEnvironment = loadConfig({ file, environment });
    assert.equal(fromEnvironment.sip.port, 2222);
    assert.equal(fromEnvironment.log.level, 'debug');
    assert.equal(fromEnvironment.calls.ringTimeoutSeconds, 7);
    const withFlags = loadConfig({ file, environment, flags: { 'sip.port': '3333' } });
    assert.equal(withFlags.sip.port, 3333);
  });

  it('finds the file by PARLEY_CONFIG', () => {
    const file = write('dataFolder = "/tmp/elsewhere"\n');
    assert.equal(loadConfig({ environment: { PARLEY_CONFIG: file } }).dataFolder, '/tmp/elsewhere');
  });

  it('reads every type from the environment', () => {
    const config = loadConfig({
      environment: {
        PARLEY_SIP_LISTEN_ADDRESSES: '127.0.0.1, ::1',
        PARLEY_LOG_SHOW_PRIVATE: 'yes',
        PARLEY_RTP_PORT_MIN: '20000',
        PARLEY_SIP_DOMAIN: 'example.org',
      },
    });
    assert.deepEqual(config.sip.listenAddresses, ['127.0.0.1', '::1']);
    assert.equal(config.log.showPrivate, true);
    assert.equal(config.rtp.portMin, 20000);
    assert.equal(config.sip.domain, 'example.org');
  });

  it('takes lists of tables from the file only, but none of them from everywhere', () => {
    const file = write('[[sip.listeners]]\ntransport = "udp"\naddress = "192.0.2.1"\nport = 7\n');
    const flags = { 'sip.listeners': '' };
    assert.deepEqual(loadConfig({ file, environment: {}, flags }).sip.listeners, []);
    assert.match(
      messageOf({ environment: { PARLEY_ROOMS_LIST: 'lobby' } }),
      /^bad configuration: rooms\.list \(PARLEY_ROOMS_LIST\): is a list of tables, \[\[rooms\.list\]\]: write it into the configuration file$/,
    );
  });

  it('is frozen to its leaves', () => {
    const config = loadConfig({ environment: {} });
    assert.ok(Object.isFrozen(config));
    assert.ok(Object.isFrozen(config.rooms.list[0]));
    assert.ok(Object.isFrozen(config.sip.listenAddresses));
  });

  it('tells all faults at once, each with its path and where it was set', () => {
    const file = write('[sip]\nprot = 5060\n[rtp]\nportMin = 99999\n');
    const message = messageOf({ file, environment: { PORT: 'abc', PARLEY_NONSENSE: '1' } });
    assert.match(message, /sip\.prot \(.*parley\.toml\): no such setting/);
    assert.match(message, /rtp\.portMin .*65534/);
    assert.match(message, /sip\.port \(PORT\): expected number/);
    assert.match(message, /PARLEY_NONSENSE.*no such setting/);
  });

  it('refuses what contradicts itself', () => {
    const flags = { 'registration.minExpiresSeconds': '9000', 'rtp.portMax': '16384' };
    const message = messageOf({ environment: {}, flags });
    assert.match(message, /registration\.defaultExpiresSeconds/);
    assert.match(message, /rtp\.portMax/);
    const rooms = write('[[rooms.list]]\nname = "a"\n[[rooms.list]]\nname = "A"\n');
    assert.match(messageOf({ file: rooms, environment: {} }), /rooms\.list.*share a name/);
  });

  it('says which line of the file is no TOML', () => {
    assert.match(messageOf({ file: write('[sip]\nport = = 1\n'), environment: {} }), /line 2/);
    const missing = path.join(folder, 'none.toml');
    assert.match(messageOf({ file: missing, environment: {} }), /cannot read.*none\.toml/);
  });

  it('takes the secret of an external engine from the environment or a file, not from the settings', () => {
    const flags = { 'engine.mode': 'drachtio' };
    assert.match(messageOf({ environment: {}, flags }), /engine\.secretFile.*PARLEY_ENGINE_SECRET/);
    const environment = { PARLEY_ENGINE_SECRET: 'cymru' };
    assert.equal(loadConfig({ environment, flags }).engine.secret, 'cymru');
    const secretFile = path.join(folder, 'secret');
    writeFileSync(secretFile, 'from a file\n');
    const withFile = loadConfig({
      environment: {},
      flags: { ...flags, 'engine.secretFile': secretFile },
    });
    assert.equal(withFile.engine.secret, 'from a file');
    const file = write('[engine]\nsecret = "x"\n');
    assert.match(messageOf({ file, environment: {} }), /engine\.secret .*does not belong/);
  });

  describe('of further applications', () => {
    const environment = { PARLEY_APPLICATIONS_SECRET: 'a-secret' };
    const long = { PARLEY_APPLICATIONS_SECRET: 'sixteen-letters-at-least' };

    it('is complete with a port and a secret', () => {
      const { applications } = loadConfig({ environment, flags: { 'applications.port': '9022' } });
      assert.deepEqual(applications, {
        ...loadConfig({ environment: {} }).applications,
        port: 9022,
        secret: 'a-secret',
      });
      const file = write('[applications]\nport = 9022\nsecret = "x"\n');
      assert.match(
        messageOf({ file, environment: {} }),
        /applications\.secret .*does not belong into .*PARLEY_APPLICATIONS_SECRET/,
      );
      const secretFile = path.join(folder, 'secret');
      writeFileSync(secretFile, 'from-a-file\n');
      const flags = { 'applications.port': '9022', 'applications.secretFile': secretFile };
      assert.equal(loadConfig({ environment: {}, flags }).applications.secret, 'from-a-file');
    });

    it('reads handlers, with * for all other methods', () => {
      const file = write(
        `[[applications.handlers]]
        method = "INVITE"
        uri = "http://192.0.2.1:8080/route"
        [[applications.handlers]]
        uri = "tls://app.example.org"
        [[applications.handlers]]
        method = "MESSAGE"
        uri = "tcp://127.0.0.1:9021"`,
      );
      assert.deepEqual(loadConfig({ file, environment }).applications.handlers, [
        { method: 'INVITE', uri: 'http://192.0.2.1:8080/route', withBody: false },
        { method: '*', uri: 'tls://app.example.org', withBody: false },
        { method: 'MESSAGE', uri: 'tcp://127.0.0.1:9021', withBody: false },
      ]);
    });

    it('needs no secret while only web servers are asked', () => {
      const file = write('[[applications.handlers]]\nuri = "https://example.org/route"\n');
      assert.equal(loadConfig({ file, environment: {} }).applications.secret, undefined);
    });

    it('never tells the secret in a fault', () => {
      const bad = { PARLEY_APPLICATIONS_SECRET: 'pass|word' };
      const message = messageOf({ environment: bad, flags: { 'applications.port': '9022' } });
      assert.match(message, /applications\.secret \(PARLEY_APPLICATIONS_SECRET\): must be .*ASCII/);
      assert.ok(!message.includes('pass|word'), message);
    });

    const refused: readonly (readonly [what: string, toml: string, fault: RegExp])[] = [
      [
        'a port without a secret',
        'port = 9022',
        /^bad configuration: applications\.secretFile .*must present a secret: set secretFile or PARLEY_APPLICATIONS_SECRET$/,
      ],
      [
        'an application to connect to without a secret',
        'handlers = [{ uri = "tcp://127.0.0.1" }]',
        /applications\.secretFile .*must present a secret/,
      ],
      [
        'a secret in the clear on every address',
        'port = 9022\naddress = "0.0.0.0"',
        /^bad configuration: applications\.tls .*in the clear: set applications\.tls = true, or applications\.address = "127\.0\.0\.1" instead of "0\.0\.0\.0"$/,
      ],
      [
        'the same on one address of IPv6',
        'port = 9022\naddress = "2001:db8::1"',
        /applications\.tls .*instead of "2001:db8::1"/,
      ],
      [
        'a short secret where strangers can try',
        'port = 9022\naddress = "192.0.2.1"\ntls = true',
        /^bad configuration: applications\.secretFile .*at 192\.0\.2\.1: make it 16 characters at least$/,
      ],
      [
        'an application far away without TLS',
        'handlers = [{ uri = "tcp://192.0.2.7:9021" }]',
        /applications\.handlers\.0\.uri .*in the clear: write tls:\/\/ instead of "tcp:\/\/192\.0\.2\.7:9021"/,
      ],
      [
        'a handler that is nowhere',
        'handlers = [{ uri = "ftp://127.0.0.1" }]',
        /applications\.handlers\.0\.uri .*must be tcp:.*web server, not "ftp:\/\/127\.0\.0\.1"/,
      ],
      ['port 0 of a handler', 'handlers = [{ uri = "tcp://127.0.0.1:0" }]', /handlers\.0\.uri/],
      [
        'a handler for no method',
        'handlers = [{ method = "IN VITE", uri = "tcp://127.0.0.1" }]',
        /applications\.handlers\.0\.method .*must be a method.*not "IN VITE"/,
      ],
      [
        'two handlers for one method',
        'handlers = [{ method = "invite", uri = "tcp://[::1]" }, { method = "INVITE", uri = "tcp://localhost" }]',
        /applications\.handlers .*there are two for INVITE: leave one of them out/,
      ],
      [
        'methods for nobody',
        'methods = ["INVITE"]',
        /applications\.methods .*nobody could take them: set applications\.port or applications\.handlers/,
      ],
      ['no method', 'port = 9022\nmethods = ["*"]', /applications\.methods\.0 .*not "\*"/],
      [
        'a certificate without TLS',
        'port = 9022\ncertificateFile = "c.pem"\nkeyFile = "k.pem"',
        /applications\.certificateFile .*means nothing without TLS: set applications\.tls = true/,
      ],
      [
        'a certificate without its key',
        'port = 9022\ntls = true\ncertificateFile = "c.pem"',
        /applications\.keyFile .*go together/,
      ],
      ['a key that is unknown', 'prot = 9022', /applications\.prot .*no such setting/],
    ];
    for (const [what, toml, fault] of refused) {
      it(`refuses ${what}`, () => {
        const file = write(`[applications]\n${toml}\n`);
        const secret = what.startsWith('a short') ? environment : long;
        const given = what.endsWith('without a secret') ? {} : secret;
        assert.match(messageOf({ file, environment: given }), fault);
      });
    }

    it('accepts an address for all with TLS and a long secret', () => {
      const file = write('[applications]\nport = 9022\naddress = "0.0.0.0"\ntls = true\n');
      assert.ok(loadConfig({ file, environment: long }).applications.tls);
    });

    it('belongs to the embedded engine', () => {
      const flags = {
        'engine.mode': 'drachtio',
        'applications.port': '9022',
        'applications.callRecords': 'yes',
      };
      const both = { ...environment, PARLEY_ENGINE_SECRET: 'x' };
      assert.match(
        messageOf({ environment: both, flags }),
        /applications\.port \(command line\): belongs to the embedded engine; .*drachtio-server, or leave it out here$/,
      );
    });
  });

  describe('of sockets', () => {
    const sip = (toml: string): ConfigSources => ({
      file: write(`[sip]\n${toml}\n`),
      environment: {},
    });
    const one = '[[sip.listeners]]\ntransport = "udp"\naddress = "192.0.2.1"\n';

    it('takes further ones with ports and external addresses of their own', () => {
      const { sip: settings, tls } = loadConfig(
        sip(
          `listenAddresses = ["127.0.0.1"]\nexternalAddress = "203.0.113.1"\n${one}port = 5070
          [[sip.listeners]]\ntransport = "wss"\naddress = "::1"\nport = 443
          externalAddress = "2001:db8::1"\nexternalPort = 8443`,
        ),
      );
      assert.deepEqual(
        listeningPlaces({ sip: settings, tls }).map(({ transport, address, port, external }) =>
          [transport, address, port, external?.address, external?.port].join(' '),
        ),
        [
          'udp 127.0.0.1 5060 203.0.113.1 5060',
          'tcp 127.0.0.1 5060 203.0.113.1 5060',
          'tls 127.0.0.1 5061 203.0.113.1 5061',
          'udp 192.0.2.1 5070  ',
          'wss ::1 443 2001:db8::1 8443',
        ],
      );
    });

    it('can do without the simple ones, but not without any', () => {
      const { sip: settings, tls } = loadConfig(sip(`listenAddresses = []\n${one}port = 5060`));
      assert.equal(listeningPlaces({ sip: settings, tls }).length, 1);
      assert.match(
        messageOf(sip('listenAddresses = []')),
        /sip\.listenAddresses .*nowhere to listen: give addresses here, or sip\.listeners/,
      );
    });

    it('takes the same port for UDP and TCP, on other addresses, and of the other family', () => {
      const further = ['"tcp"', '"udp"'].map(
        (transport) =>
          `[[sip.listeners]]\ntransport = ${transport}\naddress = "::1"\nport = 5060\n`,
      );
      const other = `${one}port = 5060\n`;
      const sources = sip(`listenAddresses = ["127.0.0.1"]\n${further.join('')}${other}`);
      assert.equal(loadConfig(sources).sip.listeners.length, 3);
    });

    const refused: readonly (readonly [what: string, toml: string, fault: RegExp])[] = [
      [
        'what a wildcard has already',
        `${one}port = 5060`,
        /^bad configuration: sip\.listeners\.0 .*192\.0\.2\.1 port 5060 is taken by sip\.port already: choose another port$/,
      ],
      [
        'TLS and TCP on one port',
        `[[sip.listeners]]\ntransport = "wss"\naddress = "0.0.0.0"\nport = 5061`,
        /sip\.listeners\.0 .*is taken by tls\.port/,
      ],
      [
        'two of the list on one port',
        `listenAddresses = []\n${one}port = 1\n${one}port = 1`,
        /sip\.listeners\.1 .*is taken by sip\.listeners\.0/,
      ],
      [
        'the same address twice',
        'listenAddresses = ["::1", "::1"]',
        /sip\.port .*taken by sip\.port/,
      ],
      [
        'a transport that is none',
        `${one.replace('udp', 'sctp')}port = 1`,
        /0\.transport .*"sctp"/,
      ],
      ['a port of chance', `${one}port = 0`, /sip\.listeners\.0\.port .*not 0/],
      ['a name as address', `${one.replace('192.0.2.1', 'host')}port = 1`, /0\.address .*"host"/],
      [
        'an external port without its address',
        `${one}port = 1\nexternalPort = 2`,
        /sip\.listeners\.0\.externalPort .*means nothing without externalAddress/,
      ],
      [
        'an external address of the other family',
        `${one}port = 1\nexternalAddress = "::1"`,
        /sip\.listeners\.0\.externalAddress .*::1 is not of the same family as address 192\.0\.2\.1/,
      ],
    ];
    for (const [what, toml, fault] of refused) {
      it(`refuses ${what}`, () => {
        assert.match(messageOf(sip(toml)), fault);
      });
    }

    it('keeps the port of applications free', () => {
      const flags = { 'applications.port': '5061' };
      const environment = { PARLEY_APPLICATIONS_SECRET: 'x' };
      const message = messageOf({ environment, flags });
      assert.match(message, /applications\.port .*127\.0\.0\.1 port 5061 is taken by tls\.port/);
    });
  });

  it('takes only URIs of loose routers for Service-Route', () => {
    const edges = ['sip:192.0.2.1:5060;transport=tcp;lr', 'sips:edge.example.org;lr'];
    const registration = (...uris: readonly string[]): ConfigSources => ({
      file: write(`[registration]\nserviceRoutes = ${JSON.stringify(uris)}\n`),
      environment: {},
    });
    assert.deepEqual(loadConfig(registration(...edges)).registration.serviceRoutes, edges);
    for (const wrong of [
      'sip:192.0.2.1',
      '<sip:192.0.2.1;lr>',
      'sip:192.0.2.1;lr?Route=x',
      'tel:+4930;lr',
      'edge.example.org',
      'sip:a b;lr',
      `sip:${'a'.repeat(500)}@h;lr`,
    ]) {
      assert.match(messageOf(registration(wrong)), /registration\.serviceRoutes\.0 /, wrong);
    }
  });

  it('opens the relay to others on this machine, never on all addresses, and only its own', () => {
    const of = (flags: Record<string, string>): ConfigSources => ({ environment: {}, flags });
    const { relay } = loadConfig(of({ 'relay.ngPort': '2224' }));
    assert.deepEqual([relay.ngAddress, relay.ngPort], ['127.0.0.1', 2224]);
    assert.equal(loadConfig(of({})).relay.ngPort, undefined);
    for (const everywhere of ['0.0.0.0', '::', '0:0:0:0:0:0:0:0']) {
      assert.match(
        messageOf(of({ 'relay.ngPort': '2224', 'relay.ngAddress': everywhere })),
        /^bad configuration: relay\.ngAddress .*strangers could/,
      );
    }
    assert.match(
      messageOf(of({ 'relay.ngPort': '2224', 'relay.mode': 'ng' })),
      /^bad configuration: relay\.ngPort .*belongs to the embedded relay/,
    );
  });

  it('does not mind the variables of the softphone', () => {
    assert.ok(loadConfig({ environment: { PARLEY_PHONE_PASSWORD: 'x', PATH: '/bin' } }));
  });

  describe('example file', () => {
    const text = readFileSync(EXAMPLE, 'utf8');

    it('loads, and says what the defaults are', () => {
      const config = loadConfig({ file: EXAMPLE, environment: {} });
      assert.deepEqual(config, loadConfig({ environment: {} }));
    });

    it('has exactly the keys of the schema', () => {
      const whole = parseToml(text.replace(/^#(?=[A-Za-z]+ = )/gm, ''));
      const expected = CONFIG_KEYS.map(({ path: key }) => key).filter(
        (key) => !key.endsWith('.secret'),
      );
      assert.deepEqual(leavesOf(whole).sort(), [...expected].sort());
    });
  });
});

function leavesOf(tree: Record<string, unknown>, prefix = ''): string[] {
  return Object.entries(tree).flatMap(([name, value]) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? leavesOf(value as Record<string, unknown>, `${prefix}${name}.`)
      : [prefix + name],
  );
}
