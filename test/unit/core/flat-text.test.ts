/** Whether a flat text keeps what it was cut out of. */

import assert from 'node:assert/strict';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { flatText } from '../../../core/flat-text.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const COUNT = 500;
const MESSAGE_BYTES = 20_000;

/** A key made of two pieces of a text that nobody else keeps. */
function keyOf(index: number): string {
  const message = Buffer.alloc(MESSAGE_BYTES, `message ${index} `).toString('latin1');
  return `${message.slice(0, 20)}\n${message.slice(40, 60)}`;
}

describe('flatText', () => {
  it('is the same text', () => {
    for (const text of ['', 'a', keyOf(1), `ä${keyOf(2)}`]) assert.equal(flatText(text), text);
  });

  it('does not keep the text that it was cut out of', () => {
    collect();
    const before = process.memoryUsage().heapUsed;
    const keys = Array.from({ length: COUNT }, (_, index) => flatText(keyOf(index)));
    collect();
    const each = (process.memoryUsage().heapUsed - before) / COUNT;
    assert.equal(keys.length, COUNT);
    assert.ok(each < MESSAGE_BYTES / 4, `${each} bytes are kept for each key`);
  });
});
