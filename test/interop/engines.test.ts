/**
 * One suite of scenarios over our engine and over a real drachtio-server, with an application in between that knows
 * drachtio-srf only. Where the two differ, the scenario says what the other does, and docs/drachtio.md says why.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import {
  ENGINE_NAMES,
  externalEngine,
  startTestEngine,
  WITHOUT_EXTERNAL,
  type RunningTestEngine,
} from '../support/sip-engines.ts';
import { APPLICATIONS } from './engines/applications.ts';
import { CALLS } from './engines/calls.ts';
import { FLOWS } from './engines/flows.ts';
import { IN_DIALOG } from './engines/in-dialog.ts';
import { PROXY } from './engines/proxy.ts';
import { RELIABLE } from './engines/reliable.ts';
import { REQUESTS } from './engines/requests.ts';
import { Stage } from './engines/scenario.ts';
import { SESSION_TIMERS } from './engines/session-timers.ts';
import { SUBSCRIPTIONS } from './engines/subscriptions.ts';

/** Timer C, and what goes before and after it. */
const SLOW_MS = 240_000;

const SCENARIOS = [
  ...REQUESTS,
  ...CALLS,
  ...IN_DIALOG,
  ...RELIABLE,
  ...SESSION_TIMERS,
  ...SUBSCRIPTIONS,
  ...PROXY,
  ...FLOWS,
  ...APPLICATIONS,
];

for (const name of ENGINE_NAMES) {
  const isThere = name === 'embedded' || externalEngine() !== undefined;
  describe(`an application over the ${name} engine${isThere ? '' : ` (${WITHOUT_EXTERNAL})`}`, () => {
    let engine: RunningTestEngine | undefined;
    let stage: Stage;

    before(async function () {
      if (!isThere) this.skip();
      engine = await startTestEngine(name);
    });
    beforeEach(() => {
      assert.ok(engine);
      stage = new Stage(name, engine);
    });
    afterEach(async () => {
      await stage.close();
      await engine?.nothingLeft();
    });
    after(async () => {
      await engine?.stop();
    });

    for (const { title, run, expected, difference, isSlow } of SCENARIOS) {
      const isOther = name === 'drachtio-server';
      const isAsked = !(isOther && isSlow === true) || process.env['PARLEY_TEST_SLOW'] === '1';
      it(isAsked ? title : `${title} (skipped: slow, see PARLEY_TEST_SLOW)`, async function () {
        if (!isAsked) this.skip();
        this.timeout(isSlow === true ? SLOW_MS : 20_000);
        const differs = isOther ? (difference?.outcome ?? {}) : {};
        assert.deepEqual(await run(stage), { ...expected, ...differs });
      });
    }
  });
}

describe('what differs between the engines', () => {
  it('is explained, row by row', () => {
    const document = path.resolve(import.meta.dirname, '../../docs/drachtio.md');
    const rows = [...readFileSync(document, 'utf8').matchAll(/^\| `([a-z-]+)` +\|/gm)];
    const listed = rows.map(([, row]) => row).sort();
    const known = SCENARIOS.flatMap(({ difference }) => (difference ? [difference.row] : []));
    assert.deepEqual(listed, known.sort());
  });
});
