import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { parse as parseYaml } from 'yaml';
import { CONFIG_KEYS } from '../../config/keys.ts';
import { loadConfig } from '../../config/load.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const read = (name: string): string => readFileSync(path.join(ROOT, name), 'utf8');
const exists = (name: string): boolean => existsSync(path.join(ROOT, name));

type Instruction = { readonly name: string; readonly text: string };

function instructionsOf(dockerfile: string): Instruction[] {
  return dockerfile
    .replaceAll(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, name = '', text = ''] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? [];
      return { name, text };
    });
}

const KNOWN = [
  'FROM',
  'RUN',
  'WORKDIR',
  'COPY',
  'ENV',
  'USER',
  'VOLUME',
  'EXPOSE',
  'HEALTHCHECK',
  'CMD',
];

type Manifest = {
  readonly engines: { readonly node: string };
  readonly bin: { readonly parley: string };
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
};

type Service = {
  readonly build: { readonly context: string; readonly dockerfile: string };
  readonly environment: Readonly<Record<string, string>>;
  readonly ports: readonly string[];
  readonly volumes: readonly string[];
};

type Compose = {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
};

/** `${NAME}`, `${NAME:-default}`, `${NAME:?why}` as compose fills them in. */
function filledIn(value: string, variables: Readonly<Record<string, string>>): string {
  return value.replaceAll(
    /\$\{(\w+)(?::([-?])([^}]*))?\}/g,
    (_whole, name: string, kind: string | undefined, text = '') => {
      const given = variables[name];
      if (given !== undefined) return given;
      assert.equal(kind, '-', `${name} has no default`);
      return String(text);
    },
  );
}

describe('docker', () => {
  const manifest = JSON.parse(read('package.json')) as Manifest;
  const instructions = instructionsOf(read('docker/Dockerfile'));
  const all = (name: string): string[] =>
    instructions.filter((instruction) => instruction.name === name).map(({ text }) => text);
  const runtime = instructions.slice(instructions.map(({ name }) => name).lastIndexOf('FROM'));
  const inRuntime = (name: string): string =>
    runtime.filter((instruction) => instruction.name === name).at(-1)?.text ?? '';
  const defaults = loadConfig({ environment: {} });

  describe('Dockerfile', () => {
    it('has only instructions that are checked here', () => {
      const unknown = instructions.filter(({ name }) => !KNOWN.includes(name));
      assert.deepEqual(unknown, []);
    });

    it('builds and runs on a Node that the project supports', () => {
      const [, oldest = ''] = /^>=(\d+)\./.exec(manifest.engines.node) ?? [];
      const images = all('FROM').map((text) => text.split(' ')[0] ?? '');
      assert.equal(images.length, 2);
      for (const image of images) {
        const [, major = ''] = /^node:(\d+)-bookworm-slim$/.exec(image) ?? [];
        assert.ok(Number(major) >= Number(oldest), image);
      }
    });

    it('copies only what the checkout or the build stage has', () => {
      for (const copy of all('COPY')) {
        const words = copy.split(/\s+/);
        const isFromBuild = words[0] === '--from=build';
        for (const source of words.slice(isFromBuild ? 1 : 0, -1)) {
          const name = isFromBuild ? source.replace(/^\/build\//, '') : source;
          const isMade = isFromBuild && ['node_modules', 'dist'].includes(name);
          assert.ok(isMade || exists(name), copy);
        }
      }
    });

    it('leaves out of the context what the build makes anew, and nothing that it copies', () => {
      const ignored = read('docker/Dockerfile.dockerignore').trim().split('\n');
      assert.ok(['node_modules', 'dist', 'data', '.git'].every((name) => ignored.includes(name)));
      const copied = all('COPY').flatMap((copy) => copy.split(/\s+/));
      assert.deepEqual(
        ignored.filter((name) => copied.some((source) => source.startsWith(`${name}/`))),
        [],
      );
    });

    it('uses only npm scripts and packages that exist', () => {
      const commands = all('RUN').join(' && ');
      for (const [, script = ''] of commands.matchAll(/npm run (\S+)/g)) {
        assert.ok(manifest.scripts[script] !== undefined, script);
      }
      for (const [, names = ''] of commands.matchAll(/npm rebuild ([^&]+)/g)) {
        for (const name of names.trim().split(/\s+/)) {
          assert.ok(manifest.dependencies[name] !== undefined, name);
        }
      }
      for (const tool of ['python3', 'make', 'g++']) assert.ok(commands.includes(tool), tool);
    });

    it('runs what `npm start` runs, not as root', () => {
      const command = JSON.parse(inRuntime('CMD')) as string[];
      assert.equal(command.join(' '), manifest.scripts['start']);
      assert.equal(command.at(-2), manifest.bin.parley);
      assert.equal(inRuntime('USER'), 'node');
    });

    it('exposes what the switch listens on by default', () => {
      const { sip, rtp } = defaults;
      assert.deepEqual(inRuntime('EXPOSE').split(' '), [
        `${sip.port}/udp`,
        `${sip.port}/tcp`,
        // TLS, with the port after it.
        `${sip.port + 1}/tcp`,
        `${rtp.portMin}-${rtp.portMax}/udp`,
      ]);
    });

    it('keeps its data on a volume that its user owns', () => {
      const environment = Object.fromEntries(
        inRuntime('ENV')
          .split(' ')
          .map((pair) => pair.split('=')),
      ) as Record<string, string>;
      const parley = Object.entries(environment).filter(([name]) => name.startsWith('PARLEY_'));
      const config = loadConfig({ environment: Object.fromEntries(parley) });
      assert.equal(config.dataFolder, inRuntime('VOLUME'));
      assert.match(inRuntime('RUN'), new RegExp(`-o node .*${config.dataFolder}$`));
    });
  });

  describe('health check', () => {
    const [, check = ''] = /CMD (\[.*\])$/.exec(inRuntime('HEALTHCHECK')) ?? [];
    const [program = '', script = ''] = JSON.parse(check) as string[];
    const run = async (port: number): Promise<number> => {
      const environment = { ...process.env, PORT: String(port) };
      return promisify(execFile)(program, [path.join(ROOT, script)], { env: environment }).then(
        () => 0,
        (error: unknown) => (error as { code: number }).code,
      );
    };

    it('passes when OPTIONS is answered, and only then', async () => {
      const server = createSocket('udp4');
      server.bind(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address();
      const requests: string[] = [];
      server.on('message', (message, { port: from }) => {
        const request = message.toString('latin1');
        requests.push(request);
        server.send(request.replace(/^OPTIONS .*/, 'SIP/2.0 200 OK'), from, '127.0.0.1');
      });
      assert.equal(await run(port), 0);
      assert.match(requests[0] ?? '', /^OPTIONS sip:127\.0\.0\.1:\d+ SIP\/2\.0\r\n/);
      await new Promise<void>((resolve) => {
        server.close(resolve);
      });
      assert.equal(await run(port), 1);
    });
  });

  describe('compose.yaml', () => {
    const compose = parseYaml(read('docker/compose.yaml')) as Compose;
    const service = compose.services['switch'];
    assert.ok(service);
    const host = { HOST_ADDRESS: '192.0.2.10' };
    const environment = Object.fromEntries(
      Object.entries(service.environment).map(([name, value]) => [name, filledIn(value, host)]),
    );
    const config = loadConfig({ environment });

    it('builds the Dockerfile from the top folder', () => {
      assert.equal(path.resolve(ROOT, 'docker', service.build.context), ROOT);
      assert.ok(exists(service.build.dockerfile));
    });

    it('sets only what the configuration knows', () => {
      const known = CONFIG_KEYS.map(({ variable }) => variable);
      assert.deepEqual(
        Object.keys(environment).filter((name) => !known.includes(name)),
        [],
      );
      assert.equal(config.sip.externalAddress, host.HOST_ADDRESS);
      assert.equal(config.relay.externalAddress, host.HOST_ADDRESS);
    });

    it('publishes exactly what the switch listens on, under the same numbers', () => {
      const range = `${config.rtp.portMin}-${config.rtp.portMax}`;
      assert.deepEqual(service.ports, [
        `${config.sip.port}:${config.sip.port}/udp`,
        `${config.sip.port}:${config.sip.port}/tcp`,
        `${config.sip.port + 1}:${config.sip.port + 1}/tcp`,
        `${range}:${range}/udp`,
      ]);
    });

    it('mounts a declared volume where the data is', () => {
      for (const volume of service.volumes) {
        const [name = '', target] = volume.split(':');
        assert.ok(name in compose.volumes, name);
        assert.equal(target, config.dataFolder);
      }
      assert.equal(service.volumes.length, 1);
    });

    it('names commands that exist', () => {
      const commands = [...read('docker/compose.yaml').matchAll(/exec (\w+) node (\S+) (\w+)/g)];
      assert.equal(commands.length, 1);
      for (const [, name = '', script] of commands) {
        assert.ok(name in compose.services);
        assert.equal(script, manifest.bin.parley);
      }
    });
  });
});
