/** A received request and its response as drachtio-srf would hand them over, without any connection; for unit tests. */
import type { SipHeaders, SipRequest, SipResponse } from '../../registrar/app/srf.ts';

export type FakeRequestOptions = {
  readonly method?: string;
  readonly uri?: string;
  /** Names in any capitalisation. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly address?: string;
  readonly port?: number;
  readonly transport?: string;
};

/** What was answered. */
export type FakeAnswer = {
  readonly status: number;
  readonly reason: string | undefined;
  readonly headers: SipHeaders;
};

export type FakeExchange = {
  readonly request: SipRequest;
  readonly response: SipResponse;
  readonly answers: readonly FakeAnswer[];
};

export function fakeExchange(options: FakeRequestOptions = {}): FakeExchange {
  const { method = 'REGISTER', uri = 'sip:example.org', address = '192.0.2.1' } = options;
  const headers = new Map(
    Object.entries({
      From: '<sip:alice@example.org>;tag=1',
      To: '<sip:alice@example.org>',
      'Call-ID': 'call-1',
      CSeq: `1 ${method}`,
      Via: `SIP/2.0/UDP ${address};branch=z9hG4bKabc`,
      ...options.headers,
    }).map(([name, value]) => [name.toLowerCase(), value]),
  );
  const answers: FakeAnswer[] = [];
  const request = {
    method,
    uri,
    body: options.body,
    source_address: address,
    source_port: options.port ?? 5062,
    protocol: options.transport ?? 'udp',
    get: (name: string) => headers.get(name.toLowerCase()),
    has: (name: string) => headers.has(name.toLowerCase()),
  };
  const response = {
    get finalResponseSent(): boolean {
      return answers.some(({ status }) => status >= 200);
    },
    send: (
      status: number,
      reasonOrOptions?: string | { headers?: SipHeaders },
      more?: { headers?: SipHeaders },
    ) => {
      const hasReason = typeof reasonOrOptions === 'string';
      const given = hasReason ? more : reasonOrOptions;
      const reason = hasReason ? reasonOrOptions : undefined;
      answers.push({ status, reason, headers: given?.headers ?? {} });
    },
  };
  return {
    request: request as unknown as SipRequest,
    response: response as unknown as SipResponse,
    answers,
  };
}
