import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { ConfigError } from '../../../../../core/errors.ts';
import { loadIdentity, selfSignedIdentity } from '../../../../../registrar/engine/io/identity.ts';

const NOW_MS = Date.UTC(2026, 5, 1);
const YEAR_MS = 365 * 86_400_000;

describe('TLS identity', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'parley-tls-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  it('makes a certificate whose DNS names include the addresses that users type', async () => {
    const { cert } = await selfSignedIdentity(folder, ['club.test', '127.0.0.1', '::1'], NOW_MS);
    const certificate = new X509Certificate(cert);
    const names = certificate.subjectAltName?.split(', ') ?? [];
    assert.ok(names.includes('DNS:club.test'));
    assert.ok(names.includes('DNS:127.0.0.1') && names.includes('IP Address:127.0.0.1'));
    assert.ok(names.includes('DNS:::1') && names.includes('IP Address:0:0:0:0:0:0:0:1'));
    assert.ok(certificate.checkIP('127.0.0.1'));
  });

  it('keeps it from one start to the next, the key readable by nobody else', async () => {
    const first = await selfSignedIdentity(folder, ['club.test'], NOW_MS);
    const second = await selfSignedIdentity(folder, ['club.test'], NOW_MS + YEAR_MS);
    assert.deepEqual(second, first);
    const { mode } = await stat(path.join(folder, 'self-signed.key.pem'));
    assert.equal(mode & 0o777, 0o600);
  });

  it('makes another when a name is new, the old one is about to end, or its file is damaged', async () => {
    const first = await selfSignedIdentity(folder, ['club.test'], NOW_MS);
    const named = await selfSignedIdentity(folder, ['club.test', 'new.test'], NOW_MS);
    assert.notEqual(named.cert, first.cert);
    const renewed = await selfSignedIdentity(folder, ['club.test'], NOW_MS + 10 * YEAR_MS);
    assert.notEqual(renewed.cert, named.cert);
    await writeFile(path.join(folder, 'self-signed.cert.pem'), 'damaged');
    await selfSignedIdentity(folder, ['club.test'], NOW_MS);
    const kept = await readFile(path.join(folder, 'self-signed.cert.pem'), 'utf8');
    assert.doesNotThrow(() => new X509Certificate(kept));
  });

  it('says which file is missing, malformed, or of another pair', async () => {
    const one = path.join(folder, 'one');
    const two = path.join(folder, 'two');
    await selfSignedIdentity(one, ['a.test'], NOW_MS);
    await selfSignedIdentity(two, ['b.test'], NOW_MS);
    const cert = path.join(one, 'self-signed.cert.pem');
    const foreignKey = path.join(two, 'self-signed.key.pem');
    const isConfigError = (code: string) => (error: unknown) =>
      error instanceof ConfigError && error.code === code && error.message.includes(folder);
    await assert.rejects(
      loadIdentity(cert, path.join(folder, 'no')),
      isConfigError('tls.unreadable'),
    );
    await assert.rejects(loadIdentity(cert, foreignKey), isConfigError('tls.mismatch'));
    await assert.rejects(loadIdentity(cert, cert), isConfigError('tls.malformed'));
  });
});
