/** What becomes of every message of RFC 4475 and RFC 5118: one row each. */

export type Row = {
  /** The message, without `.dat`. */
  readonly file: string;
  readonly section: string;
  /**
   * Who decides: the parser with its validation, the transaction layer, or the application (then the parser accepts).
   */
  readonly layer: 'parser' | 'transaction' | 'application';
  /** Accepted, dropped in silence, or the status of the answer. */
  readonly expect: 'accept' | 'drop' | number;
  /** What the whole switch answers to somebody who has not logged in; undefined: nothing. */
  readonly stranger: number | undefined;
  /**
   * What it answers to somebody who has; undefined where nobody gets so far as to say who he is. 401 stays where From
   * names no account, 403 where the domain is not ours or From is not his; 480: the one who is called has no device.
   */
  readonly known: number | undefined;
};

type Answers = { readonly stranger?: number; readonly known?: number };

// eslint-disable-next-line max-params -- the columns of a table
function row(
  file: string,
  section: string,
  layer: Row['layer'],
  expect: Row['expect'],
  answers: Answers = {},
): Row {
  const status = typeof expect === 'number' ? expect : undefined;
  const known = layer === 'application' ? status : undefined;
  return { file, section, layer, expect, stranger: status, known, ...answers };
}

export const RFC4475: readonly Row[] = [
  row('wsinv', '3.1.1.1', 'parser', 'accept', { stranger: 481, known: 481 }),
  row('intmeth', '3.1.1.2', 'parser', 'accept', { stranger: 501, known: 501 }),
  row('esc01', '3.1.1.3', 'parser', 'accept', { stranger: 403, known: 403 }),
  row('escnull', '3.1.1.4', 'parser', 'accept', { stranger: 401, known: 401 }),
  row('esc02', '3.1.1.5', 'parser', 'accept', { stranger: 501, known: 501 }),
  row('lwsdisp', '3.1.1.6', 'parser', 'accept', { stranger: 401, known: 480 }),
  row('longreq', '3.1.1.7', 'parser', 'accept', { stranger: 401, known: 401 }),
  row('dblreq', '3.1.1.8', 'parser', 'accept', { stranger: 401, known: 200 }),
  row('semiuri', '3.1.1.9', 'parser', 'accept', { stranger: 401, known: 403 }),
  row('transports', '3.1.1.10', 'parser', 'accept', { stranger: 401, known: 480 }),
  row('mpart01', '3.1.1.11', 'parser', 'accept', { stranger: 403, known: 403 }),
  row('unreason', '3.1.1.12', 'parser', 'accept'),
  row('noreason', '3.1.1.13', 'parser', 'accept'),
  row('badinv01', '3.1.2.1', 'parser', 400),
  row('clerr', '3.1.2.2', 'parser', 400),
  row('ncl', '3.1.2.3', 'parser', 400),
  row('scalar02', '3.1.2.4', 'parser', 400),
  row('scalarlg', '3.1.2.5', 'parser', 'drop'),
  row('quotbal', '3.1.2.6', 'parser', 400),
  row('ltgtruri', '3.1.2.7', 'parser', 400),
  row('lwsruri', '3.1.2.8', 'parser', 400),
  row('lwsstart', '3.1.2.9', 'parser', 400),
  row('trws', '3.1.2.10', 'parser', 400),
  row('escruri', '3.1.2.11', 'parser', 400),
  // Nobody here reads Date, and the RFC lets such an element ignore what is wrong with it.
  row('baddate', '3.1.2.12', 'parser', 'accept', { stranger: 401, known: 480 }),
  row('regbadct', '3.1.2.13', 'parser', 400),
  row('badaspec', '3.1.2.14', 'parser', 400),
  row('baddn', '3.1.2.15', 'parser', 400),
  row('badvers', '3.1.2.16', 'parser', 505),
  row('mismatch01', '3.1.2.17', 'parser', 400),
  // 501 would do as well; the mismatch is seen first.
  row('mismatch02', '3.1.2.18', 'parser', 400),
  row('bigcode', '3.1.2.19', 'parser', 'drop'),
  row('badbranch', '3.2.1', 'transaction', 'accept', { stranger: 401, known: 403 }),
  row('insuf', '3.3.1', 'parser', 400),
  row('unkscm', '3.3.2', 'application', 416),
  row('novelsc', '3.3.3', 'application', 416),
  row('unksm2', '3.3.4', 'parser', 400),
  row('bext01', '3.3.5', 'application', 420),
  row('invut', '3.3.6', 'application', 415, { stranger: 401 }),
  row('regaut01', '3.3.7', 'application', 401, { known: 200 }),
  row('multi01', '3.3.8', 'parser', 400),
  row('mcl01', '3.3.9', 'parser', 400),
  row('bcast', '3.3.10', 'transaction', 'drop'),
  // The switch answers OPTIONS itself, so the hop count does not matter (RFC 3261 §11); nobody is registered.
  row('zeromf', '3.3.11', 'application', 480, { stranger: 401 }),
  row('cparam01', '3.3.12', 'application', 200, { stranger: 401 }),
  row('cparam02', '3.3.13', 'application', 200, { stranger: 401 }),
  row('regescrt', '3.3.14', 'application', 200, { stranger: 401 }),
  row('sdp01', '3.3.15', 'application', 406),
  // Nothing in it is malformed, but without Contact nobody could ever hang up (RFC 3261 §8.1.1.8).
  row('inv2543', '3.4.1', 'application', 400),
];

export const RFC5118: readonly Row[] = [
  row('ipv6-good', '4.1', 'parser', 'accept', { stranger: 401, known: 200 }),
  row('ipv6-bad', '4.2', 'parser', 400),
  row('port-ambiguous', '4.3', 'parser', 'accept', { stranger: 403, known: 403 }),
  row('port-unambiguous', '4.4', 'parser', 'accept', { stranger: 401, known: 200 }),
  row('via-received-param-with-delim', '4.5', 'parser', 'accept', { stranger: 481, known: 481 }),
  row('via-received-param-no-delim', '4.5', 'parser', 'accept', { stranger: 200, known: 200 }),
  row('ipv6-in-sdp', '4.6', 'parser', 'accept', { stranger: 401, known: 480 }),
  row('mult-ip-in-header', '4.7', 'parser', 'accept', { stranger: 481, known: 481 }),
  row('mult-ip-in-sdp', '4.8', 'parser', 'accept', { stranger: 401, known: 480 }),
  row('ipv4-mapped-ipv6', '4.9', 'parser', 'accept', { stranger: 401, known: 403 }),
  row('ipv6-bug-abnf-3-colons', '4.10', 'parser', 'accept', { stranger: 403, known: 403 }),
  row('ipv6-correct-abnf-2-colons', '4.10', 'parser', 'accept', { stranger: 403, known: 403 }),
];
