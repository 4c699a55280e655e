/** The certificate of the switch: from the operator's files, or a self-signed one made at the first start. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { ConfigError } from '../../../core/errors.ts';
import type { TlsIdentity } from './server-certificates.ts';

const VALID_FOR_MS = 10 * 365 * 86_400_000;
/** A certificate that ends within this time is made anew at the next start. */
const RENEW_BEFORE_MS = 30 * 86_400_000;

/**
 * Reads certificate chain and key.
 *
 * @throws ConfigError `tls.unreadable`, `tls.malformed`, or `tls.mismatch` when the key is not that certificate's
 */
export async function loadIdentity(certFile: string, keyFile: string): Promise<TlsIdentity> {
  const [cert, key] = await Promise.all([readPem(certFile), readPem(keyFile)]);
  checkPair(cert, key, certFile, keyFile);
  return { cert, key };
}

/**
 * The certificate kept in `folder`, or a new self-signed one for `names`. It is made anew when a name is missing in it
 * or it is about to expire.
 *
 * @param folder - made when missing, mode 0700; the one above it is there
 * @param names - host names and numeric addresses, as users type them. Addresses go in twice, as IP and as DNS name,
 *   because some phones (Linphone) compare the latter only
 * @throws ConfigError `tls.unwritable` when a new one cannot be kept
 */
export async function selfSignedIdentity(
  folder: string,
  names: readonly string[],
  nowMs: number,
): Promise<TlsIdentity> {
  const certFile = path.join(folder, 'self-signed.cert.pem');
  const keyFile = path.join(folder, 'self-signed.key.pem');
  const kept = await loadIdentity(certFile, keyFile).catch(() => undefined);
  if (kept !== undefined && isFit(kept, names, nowMs)) return kept;
  const made = await generate(names, nowMs);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeSafely(keyFile, made.key, 0o600);
    await writeSafely(certFile, made.cert, 0o644);
  } catch (cause) {
    throw new ConfigError(
      'tls.unwritable',
      `cannot keep a certificate in ${folder}: ${reasonOf(cause)}; make that folder writable, or give a certificate of your own`,
      { cause },
    );
  }
  return made;
}

function isFit({ cert }: TlsIdentity, names: readonly string[], nowMs: number): boolean {
  const certificate = new X509Certificate(cert);
  const covered = new Set((certificate.subjectAltName ?? '').split(', '));
  const isCovered = names.every((name) => covered.has(`DNS:${name}`));
  return isCovered && Date.parse(certificate.validTo) - nowMs > RENEW_BEFORE_MS;
}

async function generate(names: readonly string[], nowMs: number): Promise<TlsIdentity> {
  const altNames = names.flatMap((name) =>
    net.isIP(name) === 0
      ? [{ type: 2 as const, value: name }]
      : [
          { type: 2 as const, value: name },
          { type: 7 as const, ip: name },
        ],
  );
  // Loaded only here: it takes a tenth of a start, and nearly every start finds its certificate made.
  const { default: selfsigned } = await import('selfsigned');
  const pems = await selfsigned.generate([{ name: 'commonName', value: names[0] ?? 'parley' }], {
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    notBeforeDate: new Date(nowMs - 86_400_000),
    notAfterDate: new Date(nowMs + VALID_FOR_MS),
    extensions: [
      // A self-signed certificate is its own authority: phones import it as one.
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'subjectAltName', altNames },
    ],
  });
  return { cert: pems.cert, key: pems.private };
}

function checkPair(cert: string, key: string, certFile: string, keyFile: string): void {
  let isPair: boolean;
  try {
    isPair = new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    throw new ConfigError(
      'tls.malformed',
      `${certFile} and ${keyFile} must hold a certificate and its private key in PEM`,
      { cause },
    );
  }
  if (isPair) return;
  throw new ConfigError('tls.mismatch', `the key in ${keyFile} is not that of ${certFile}`);
}

async function readPem(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new ConfigError('tls.unreadable', `cannot read ${file}: ${reasonOf(cause)}`, { cause });
  }
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** Whole or not at all, and never readable by others in between. */
async function writeSafely(file: string, content: string, mode: number): Promise<void> {
  const temporary = `${file}.new`;
  await writeFile(temporary, content, { mode: 0o600 });
  await chmod(temporary, mode);
  await rename(temporary, file);
}
