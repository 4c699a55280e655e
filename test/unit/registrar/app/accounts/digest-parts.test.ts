import assert from 'node:assert/strict';
import { ChallengeChoice } from '../../../../../registrar/app/accounts/challenge-choice.ts';
import { Nonces } from '../../../../../registrar/app/accounts/nonces.ts';
import { Penalties } from '../../../../../registrar/app/accounts/penalties.ts';

describe('nonces (RFC 7616 sections 3.3, 3.4)', () => {
  const secret = Buffer.alloc(32, 7);
  const make = (remembered = 256): Nonces => new Nonces({ secret, lifetimeMs: 10_000, remembered });

  it('are fresh for their lifetime, then stale', () => {
    const nonces = make();
    const nonce = nonces.issue(1000);
    assert.equal(nonces.use(nonce, 1, 11_000), 'fresh');
    assert.equal(nonces.use(nonce, 2, 11_001), 'stale');
    assert.equal(nonces.use(nonces.issue(5000), 1, 4000), 'stale');
  });

  it('are all different', () => {
    const nonces = make();
    assert.equal(new Set(Array.from({ length: 200 }, () => nonces.issue(1))).size, 200);
  });

  it('cannot be made, or changed, by others', () => {
    const nonces = make();
    const nonce = nonces.issue(1000);
    const other = new Nonces({ secret: Buffer.alloc(32, 8), lifetimeMs: 10_000, remembered: 256 });
    for (const forged of [
      other.issue(1000),
      nonce.slice(0, -1),
      `${nonce}AAAA`,
      '',
      'x',
      nonce.toLowerCase(),
    ]) {
      assert.equal(nonces.use(forged, 1, 1000), 'foreign', forged);
    }
    const bytes = Buffer.from(nonce, 'base64url');
    for (let i = 0; i < bytes.length; i++) {
      const changed = Buffer.from(bytes);
      changed[i] = (changed[i] ?? 0) ^ 1;
      assert.equal(nonces.use(changed.toString('base64url'), 1, 1000), 'foreign');
    }
    assert.equal(nonces.use(nonce, 1, 1000), 'fresh');
  });

  it('let each count be used once, in any order within the window', () => {
    const nonces = make();
    const nonce = nonces.issue(0);
    const use = (nc: number): string => nonces.use(nonce, nc, 0);
    assert.deepEqual([1, 2, 5, 3, 4].map(use), Array(5).fill('fresh'));
    assert.deepEqual([1, 2, 3, 4, 5, 0].map(use), Array(6).fill('stale'));
    assert.equal(use(100), 'fresh');
    assert.equal(use(69), 'fresh');
    assert.equal(use(68), 'stale');
    assert.equal(use(100), 'stale');
    assert.equal(use(0xffffffff), 'fresh');
    assert.equal(use(0xffffffff), 'stale');
  });

  it('count from the start again where an old one has been forgotten', () => {
    const nonces = make(4);
    const first = nonces.issue(0);
    assert.equal(nonces.use(first, 1, 0), 'fresh');
    const later = Array.from({ length: 4 }, () => nonces.issue(0));
    assert.equal(nonces.use(first, 2, 0), 'stale');
    for (const nonce of later) assert.equal(nonces.use(nonce, 1, 0), 'fresh');
  });
});

describe('penalties', () => {
  it('cost nothing at first, then twice as much each time, up to a minute', () => {
    const penalties = new Penalties({ free: 2 });
    const pauses = Array.from({ length: 10 }, () => {
      penalties.fail('k', 0);
      return penalties.pauseMs('k', 0);
    });
    assert.deepEqual(pauses, [0, 0, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    assert.equal(penalties.pauseMs('other', 0), 0);
  });

  it('pass with time, and are forgiven by a right answer or a long peace', () => {
    const penalties = new Penalties({ free: 0 });
    penalties.fail('k', 0);
    assert.equal(penalties.pauseMs('k', 400), 600);
    assert.equal(penalties.pauseMs('k', 1000), 0);
    penalties.forgive('k');
    penalties.fail('k', 2000);
    assert.equal(penalties.pauseMs('k', 2000), 1000);
    penalties.fail('k', 2000);
    assert.equal(penalties.pauseMs('k', 2000), 2000);
    penalties.fail('k', 2000 + 600_001);
    assert.equal(penalties.pauseMs('k', 2000 + 600_001), 1000);
  });

  it('remember a bounded number, the latest', () => {
    const penalties = new Penalties({ free: 0, maxKeys: 3 });
    for (let i = 0; i < 10; i++) penalties.fail(`k${i}`, 0);
    const kept = Array.from({ length: 10 }, (_, i) => penalties.pauseMs(`k${i}`, 0) > 0);
    assert.deepEqual(kept, [...Array<boolean>(7).fill(false), true, true, true]);
  });
});

describe('choice of challenges (RFC 8760 section 2.4)', () => {
  const client = {
    address: '192.0.2.1',
    nickname: 'alice',
    userAgent: 'Phone/1',
    branch: 'z9hG4bKx',
  };
  const BOTH = ['SHA-256', 'MD5'] as const;

  it('offers everything, the strongest first', () => {
    assert.deepEqual(new ChallengeChoice(BOTH).offer(client, 0), BOTH);
  });

  it('offers MD5 alone to clients that are known to give up otherwise', () => {
    const choice = new ChallengeChoice(BOTH);
    for (const userAgent of [
      'baresip v1.0.0 (x86_64/linux)',
      'baresip v3.10.1 (x86_64/Linux)',
      'SIPp',
      'sipp/3.6',
    ]) {
      assert.deepEqual(choice.offer({ ...client, userAgent }, 0), ['MD5'], userAgent);
    }
    for (const userAgent of ['baresip v3.12.0', 'baresip v4.2.0', 'Linphonec/5.1.65', undefined]) {
      assert.deepEqual(choice.offer({ ...client, userAgent }, 0), BOTH, userAgent);
    }
    const ofScenario = { ...client, userAgent: undefined, branch: 'z9hG4bK-4711-1-0' };
    assert.deepEqual(choice.offer(ofScenario, 0), ['MD5']);
  });

  it('learns who comes back without an answer, and remembers it', () => {
    const choice = new ChallengeChoice(BOTH);
    assert.deepEqual(choice.offer(client, 0), BOTH);
    assert.deepEqual(choice.offer(client, 1000), BOTH);
    assert.deepEqual(choice.offer({ ...client, nickname: 'bob' }, 30_000), BOTH);
    assert.deepEqual(choice.offer(client, 30_000), ['MD5']);
    choice.answered(client);
    assert.deepEqual(choice.offer(client, 3_600_000), ['MD5']);
    assert.deepEqual(choice.offer(client, 3 * 86_400_000), BOTH);
  });

  it('has no doubts about a client that answers', () => {
    const choice = new ChallengeChoice(BOTH);
    for (let nowMs = 0; nowMs < 100_000; nowMs += 10_000) {
      assert.deepEqual(choice.offer(client, nowMs), BOTH);
      choice.answered(client);
    }
  });

  it('offers nothing that was switched off', () => {
    const choice = new ChallengeChoice(['SHA-256']);
    assert.deepEqual(choice.offer({ ...client, userAgent: 'baresip v1.0.0' }, 0), ['SHA-256']);
  });
});
