/** The header fields that we know: canonical spelling, compact form, and a number each for fast look-up. */

/** Canonical name, and its compact form if it has one (IANA "SIP Parameters", header fields). */
const KNOWN: readonly (readonly [name: string, compact?: string])[] = [
  ['Via', 'v'],
  ['From', 'f'],
  ['To', 't'],
  ['Call-ID', 'i'],
  ['CSeq'],
  ['Max-Forwards'],
  ['Contact', 'm'],
  ['Route'],
  ['Record-Route'],
  ['Content-Length', 'l'],
  ['Content-Type', 'c'],
  ['Expires'],
  ['Require'],
  ['Proxy-Require'],
  ['Supported', 'k'],
  ['Accept'],
  ['Accept-Contact', 'a'],
  ['Accept-Encoding'],
  ['Accept-Language'],
  ['Accept-Resource-Priority'],
  ['Alert-Info'],
  ['Allow'],
  ['Allow-Events', 'u'],
  ['Answer-Mode'],
  ['Authentication-Info'],
  ['Authorization'],
  ['Call-Info'],
  ['Content-Disposition'],
  ['Content-Encoding', 'e'],
  ['Content-Language'],
  ['Date'],
  ['Diversion'],
  ['Error-Info'],
  ['Event', 'o'],
  ['Feature-Caps'],
  ['Flow-Timer'],
  ['Geolocation'],
  ['Geolocation-Error'],
  ['Geolocation-Routing'],
  ['History-Info'],
  ['Identity', 'y'],
  ['Identity-Info', 'n'],
  ['In-Reply-To'],
  ['Info-Package'],
  ['Join'],
  ['Max-Breadth'],
  ['MIME-Version'],
  ['Min-Expires'],
  ['Min-SE'],
  ['Organization'],
  ['P-Access-Network-Info'],
  ['P-Answer-State'],
  ['P-Asserted-Identity'],
  ['P-Asserted-Service'],
  ['P-Associated-URI'],
  ['P-Called-Party-ID'],
  ['P-Charging-Function-Addresses'],
  ['P-Charging-Vector'],
  ['P-Early-Media'],
  ['P-Media-Authorization'],
  ['P-Preferred-Identity'],
  ['P-Preferred-Service'],
  ['P-Profile-Key'],
  ['P-Refused-URI-List'],
  ['P-Served-User'],
  ['P-User-Database'],
  ['P-Visited-Network-ID'],
  ['Path'],
  ['Permission-Missing'],
  ['Policy-Contact'],
  ['Policy-ID'],
  ['Priority'],
  ['Priv-Answer-Mode'],
  ['Privacy'],
  ['Proxy-Authenticate'],
  ['Proxy-Authentication-Info'],
  ['Proxy-Authorization'],
  ['RAck'],
  ['Reason'],
  ['Recv-Info'],
  ['Refer-Events-At'],
  ['Refer-Sub'],
  ['Refer-To', 'r'],
  ['Referred-By', 'b'],
  ['Reject-Contact', 'j'],
  ['Remote-Party-ID'],
  ['Replaces'],
  ['Reply-To'],
  ['Request-Disposition', 'd'],
  ['Resource-Priority'],
  ['Retry-After'],
  ['RSeq'],
  ['Security-Client'],
  ['Security-Server'],
  ['Security-Verify'],
  ['Server'],
  ['Service-Route'],
  ['Session-Expires', 'x'],
  ['Session-ID'],
  ['SIP-ETag'],
  ['SIP-If-Match'],
  ['Subject', 's'],
  ['Subscription-State'],
  ['Suppress-If-Match'],
  ['Target-Dialog'],
  ['Timestamp'],
  ['Trigger-Consent'],
  ['Unsupported'],
  ['User-Agent'],
  ['User-to-User'],
  ['Warning'],
  ['WWW-Authenticate'],
];

/** The number that stands for a header field name; `UNKNOWN_HEADER` for names that are not in the table. */
export type HeaderId = number;
export const UNKNOWN_HEADER: HeaderId = -1;

const CANONICAL: readonly string[] = KNOWN.map(([name]) => name);
const ID_OF = new Map<string, HeaderId>();
/** Candidates by length and first letter, so that bytes off the wire need one or two comparisons. */
const BUCKETS: (readonly { readonly id: HeaderId; readonly lower: Buffer }[] | undefined)[] = [];

for (const [id, [name, compact]] of KNOWN.entries()) {
  for (const spelling of compact === undefined ? [name] : [name, compact]) {
    const lower = Buffer.from(spelling.toLowerCase(), 'latin1');
    for (const key of [spelling, spelling.toLowerCase(), spelling.toUpperCase()]) {
      ID_OF.set(key, id);
    }
    const bucket = bucketOf(lower.length, lower.readUInt8(0));
    BUCKETS[bucket] = [...(BUCKETS[bucket] ?? []), { id, lower }];
  }
}
// A hole in the array would make every look-up slower.
for (let bucket = 0; bucket < BUCKETS.length; bucket++) BUCKETS[bucket] ??= undefined;

function bucketOf(length: number, firstByte: number): number {
  return (length << 5) | (firstByte & 0x1f);
}

/** The id of a name in any case, full or compact; `UNKNOWN_HEADER` if it is not in the table. */
export function headerIdOf(name: string): HeaderId {
  return ID_OF.get(name) ?? ID_OF.get(name.toLowerCase()) ?? UNKNOWN_HEADER;
}

/** The same for a name that is still bytes `start..end` of a message; allocates nothing. */
export function headerIdOfBytes(bytes: Buffer, start: number, end: number): HeaderId {
  const length = end - start;
  const candidates = BUCKETS[bucketOf(length, bytes[start] ?? 0)];
  if (candidates === undefined) return UNKNOWN_HEADER;
  for (const candidate of candidates) {
    if (equalsIgnoringCase(bytes, start, candidate.lower)) return candidate.id;
  }
  return UNKNOWN_HEADER;
}

function equalsIgnoringCase(bytes: Buffer, start: number, lower: Buffer): boolean {
  for (let i = 0; i < lower.length; i++) {
    const expected = lower[i];
    let byte = bytes[start + i] ?? 0;
    if (byte >= 0x41 && byte <= 0x5a) byte |= 0x20;
    if (byte !== expected) return false;
  }
  return true;
}

/** The canonical spelling of a known header. */
export function canonicalNameOf(id: HeaderId): string {
  return CANONICAL[id] ?? '';
}

/**
 * How we write a header field name: known names in their registered spelling and never compact; names beginning
 * `X-` as they are; others with a capital at the start and after each dash.
 */
export function canonicalHeaderName(name: string): string {
  const id = headerIdOf(name);
  if (id !== UNKNOWN_HEADER) return canonicalNameOf(id);
  if (name.startsWith('x-') || name.startsWith('X-')) return name;
  return capitalise(name);
}

function capitalise(name: string): string {
  let result = '';
  let atStart = true;
  for (const letter of name) {
    result += atStart ? letter.toUpperCase() : letter;
    atStart = letter === '-';
  }
  return result;
}

/** Ids of the headers that the engine routes by. */
export const HEADER = {
  via: headerIdOf('Via'),
  from: headerIdOf('From'),
  to: headerIdOf('To'),
  callId: headerIdOf('Call-ID'),
  cseq: headerIdOf('CSeq'),
  maxForwards: headerIdOf('Max-Forwards'),
  contact: headerIdOf('Contact'),
  route: headerIdOf('Route'),
  recordRoute: headerIdOf('Record-Route'),
  contentLength: headerIdOf('Content-Length'),
  contentType: headerIdOf('Content-Type'),
  expires: headerIdOf('Expires'),
} as const;
