/** Takes out of a message what must not be kept: answers to challenges, and keys of SRTP. */

const REMOVED = '[removed]';

/** Header lines that carry an answer to a challenge; `m` so that each line is looked at alone. */
const CREDENTIALS = /^(?:proxy-)?authorization[ \t]*:[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*/gim;
const RESPONSE = /\b(response|cnonce)\s*=\s*(?:"[^"\r\n]*"|[^,\s]+)/gi;
const SDP_KEY = /^(a=crypto:[^\r\n]{0,64}?inline:)[^\r\n]*/gim;

/** @returns the same buffer when there was nothing to take out; `Content-Length` is left as it was on the wire */
export function redacted(bytes: Buffer): Buffer {
  const text = bytes.toString('latin1');
  const clean = text
    .replace(CREDENTIALS, (line) => line.replace(RESPONSE, `$1="${REMOVED}"`))
    .replace(SDP_KEY, `$1${REMOVED}`);
  return clean === text ? bytes : Buffer.from(clean, 'latin1');
}
