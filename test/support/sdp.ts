/** Session descriptions for tests of signalling: one audio stream, and whatever a test wants to be odd about it. */

export type SdpOptions = {
  readonly port?: number;
  readonly profile?: string;
  /** Payload types of the m= line. */
  readonly formats?: string;
  /** The c= line's address. */
  readonly address?: string;
  /** `a=` lines, without `a=`; a direction for example. */
  readonly attributes?: readonly string[];
  readonly version?: number;
};

export function sdp(options: SdpOptions = {}): string {
  const { port = 40_000, profile = 'RTP/AVP', formats = '0 8', version = 1 } = options;
  return [
    'v=0',
    `o=- 7 ${version} IN IP4 127.0.0.1`,
    's=-',
    `c=IN IP4 ${options.address ?? '127.0.0.1'}`,
    't=0 0',
    `m=audio ${port} ${profile} ${formats}`,
    ...(options.attributes ?? []).map((attribute) => `a=${attribute}`),
    '',
  ].join('\r\n');
}

/** What a session description says of its audio stream. */
export function audioOf(description: string): {
  readonly port: number;
  readonly profile: string;
  readonly formats: string;
  readonly direction: string;
} {
  const [, port = '', profile = '', formats = ''] =
    /^m=audio (\d+) (\S+) ([^\r\n]*)/m.exec(description) ?? [];
  const direction = /^a=(sendrecv|sendonly|recvonly|inactive)\s*$/m.exec(description)?.[1];
  return { port: Number(port), profile, formats, direction: direction ?? 'sendrecv' };
}
