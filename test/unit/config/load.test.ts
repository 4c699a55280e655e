import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parse as parseToml } from 'smol-toml';
import { CONFIG_KEYS } from '../../../config/keys.ts';
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
