/** RTP payload types and the codecs behind them (RFC 3551 §6, RFC 8866 §6.6). */

/** What a payload type means in one direction of one media stream. */
export type PayloadFormat = {
  /** 0 to 127. */
  readonly payloadType: number;
  /** As written by the peer; compare without case. */
  readonly encoding: string;
  readonly clockRateHz: number;
  readonly channels: number;
  /** The value of `a=fmtp`, raw. */
  readonly parameters: string | undefined;
};

type StaticFormat = readonly [encoding: string, clockRateHz: number, channels: number];

/** The audio types that need no `a=rtpmap`. */
const STATIC_FORMATS: ReadonlyMap<number, StaticFormat> = new Map<number, StaticFormat>([
  [0, ['PCMU', 8000, 1]],
  [3, ['GSM', 8000, 1]],
  [4, ['G723', 8000, 1]],
  [5, ['DVI4', 8000, 1]],
  [6, ['DVI4', 16000, 1]],
  [7, ['LPC', 8000, 1]],
  [8, ['PCMA', 8000, 1]],
  [9, ['G722', 8000, 1]],
  [10, ['L16', 44100, 2]],
  [11, ['L16', 44100, 1]],
  [12, ['QCELP', 8000, 1]],
  [13, ['CN', 8000, 1]],
  [14, ['MPA', 90000, 1]],
  [15, ['G728', 8000, 1]],
  [16, ['DVI4', 11025, 1]],
  [17, ['DVI4', 22050, 1]],
  [18, ['G729', 8000, 1]],
]);

/** The meaning of a payload type that came without `a=rtpmap`; undefined for a dynamic one. */
export function staticFormat(
  payloadType: number,
  parameters: string | undefined,
): PayloadFormat | undefined {
  const known = STATIC_FORMATS.get(payloadType);
  if (known === undefined) return undefined;
  const [encoding, clockRateHz, channels] = known;
  return { payloadType, encoding, clockRateHz, channels, parameters };
}

/**
 * Splits `useinbandfec=1; maxaveragebitrate=28000` into keys, in lower case, and values. A key without value gets ''.
 * The first of two equal keys wins.
 */
export function formatParameters(text: string | undefined): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  for (const part of text?.split(';') ?? []) {
    const equals = part.indexOf('=');
    const key = (equals < 0 ? part : part.slice(0, equals)).trim().toLowerCase();
    if (key === '' || parameters.has(key)) continue;
    parameters.set(key, equals < 0 ? '' : part.slice(equals + 1).trim());
  }
  return parameters;
}

/** Whether two descriptions mean the same codec. Opus is always written `/2`, but not by everybody (RFC 7587 §7). */
export function isSameCodec(
  a: Pick<PayloadFormat, 'encoding' | 'clockRateHz' | 'channels'>,
  b: Pick<PayloadFormat, 'encoding' | 'clockRateHz' | 'channels'>,
): boolean {
  const encoding = a.encoding.toLowerCase();
  if (encoding !== b.encoding.toLowerCase() || a.clockRateHz !== b.clockRateHz) return false;
  return a.channels === b.channels || encoding === 'opus';
}

export function isTelephoneEvent(format: Pick<PayloadFormat, 'encoding'>): boolean {
  return format.encoding.toLowerCase() === 'telephone-event';
}

export function isComfortNoise(format: Pick<PayloadFormat, 'encoding'>): boolean {
  return format.encoding.toLowerCase() === 'cn';
}
