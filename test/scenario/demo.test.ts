import assert from 'node:assert/strict';
import path from 'node:path';
import { Program } from '../support/program.ts';
import { measureAwake } from '../support/stalls.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');

describe('parley demo', function () {
  this.timeout(300_000);

  it('shows calls, texts and the lobby, and ends with code 0', async () => {
    await measureAwake([], async () => {
      const words = ['--import', 'tsx', 'registrar/cli/parley.ts', 'demo'];
      const demo = await Program.start(process.execPath, words, { cwd: ROOT });
      assert.equal(await demo.exited, 0, demo.describe());
      for (const line of [
        /^Registered\s+anna\s+yes$/m,
        /anna calls bruno\s+made: yes/,
        /bruno calls clara\s+refused: yes/,
        /clara calls anna\s+cancelled: yes/,
        /anna writes to bruno\s+arrived: yes/,
        /bruno writes, clara reads\s+arrived: yes/,
        /^anna\s+absent\s+(?:1\.00|0\.9\d)\s+(?:1\.00|0\.9\d)\s*$/m,
        /^All \d+ checks passed/m,
      ]) {
        assert.match(demo.output, line);
      }
    });
  });
});
