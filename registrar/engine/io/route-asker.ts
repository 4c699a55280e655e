/** Asks web servers what is to become of requests: connections that are kept, one limit for the size of an answer. */
import http from 'node:http';
import https from 'node:https';
import { rootCertificates } from 'node:tls';
import type { EngineOutput } from '../seam.ts';
import type { InputSink } from './sink.ts';

/** More than any decision takes. */
const MAX_ANSWER_BYTES = 16_384;
/** What is more waits for one that is free, as long as the engine waits for the answer. */
const MAX_CONNECTIONS = 128;
const MAX_IDLE_CONNECTIONS = 16;

type Question = Extract<EngineOutput, { kind: 'askRoute' }>;

export class RouteAsker {
  readonly #sink: InputSink;
  readonly #asked = new Map<number, http.ClientRequest>();
  readonly #plain: http.Agent;
  readonly #secure: https.Agent;

  /** @param trustedAuthorities - further ones, in PEM */
  constructor(sink: InputSink, trustedAuthorities: string | undefined) {
    this.#sink = sink;
    const options = {
      keepAlive: true,
      maxSockets: MAX_CONNECTIONS,
      maxFreeSockets: MAX_IDLE_CONNECTIONS,
    };
    this.#plain = new http.Agent(options);
    const ca =
      trustedAuthorities === undefined ? undefined : [...rootCertificates, trustedAuthorities];
    this.#secure = new https.Agent(ca === undefined ? options : { ...options, ca });
  }

  /** How it went arrives through the sink, unless the question is dropped before. */
  ask(question: Question): void {
    this.#ask(question, true);
  }

  /** The answer is not wanted any more. */
  drop(questionId: number): void {
    const request = this.#asked.get(questionId);
    this.#asked.delete(questionId);
    request?.destroy();
  }

  close(): void {
    for (const questionId of [...this.#asked.keys()]) this.drop(questionId);
    this.#plain.destroy();
    this.#secure.destroy();
  }

  #ask(question: Question, mayRepeat: boolean): void {
    const { questionId, url, body } = question;
    const request = this.#open(url, body);
    this.#asked.set(questionId, request);
    const isWanted = (): boolean => this.#asked.get(questionId) === request;
    const fail = (reason: 'routeUnanswered' | 'routeTooLong'): void => {
      if (!isWanted()) return;
      this.drop(questionId);
      this.#sink({ kind: 'routeUnanswered', questionId, reason });
    };
    request.once('response', (response) => {
      const pieces: Buffer[] = [];
      let size = 0;
      response.on('data', (piece: Buffer) => {
        size += piece.length;
        pieces.push(piece);
        if (size > MAX_ANSWER_BYTES) fail('routeTooLong');
      });
      response.once('end', () => {
        if (!isWanted()) return;
        this.#asked.delete(questionId);
        this.#sink({ kind: 'routeAnswered', questionId, body: Buffer.concat(pieces, size) });
      });
      // Cut off in the middle.
      response.once('close', () => {
        fail('routeUnanswered');
      });
      response.on('error', () => undefined);
    });
    request.on('error', (error: NodeJS.ErrnoException) => {
      // The server may close a kept connection in the moment in which we use it again.
      if (mayRepeat && request.reusedSocket && error.code === 'ECONNRESET' && isWanted()) {
        this.#ask(question, false);
      } else fail('routeUnanswered');
    });
    // Without an answer and without an error: a server that changed to another protocol.
    request.once('close', () => {
      fail('routeUnanswered');
    });
    request.end(body);
  }

  #open(url: string, body: Buffer | undefined): http.ClientRequest {
    const isSecure = url.startsWith('https:');
    const headers: http.OutgoingHttpHeaders = { accept: 'application/json' };
    if (body !== undefined) {
      headers['content-type'] = 'text/plain; charset=UTF-8';
      headers['content-length'] = body.length;
    }
    const method = body === undefined ? 'GET' : 'POST';
    return isSecure
      ? https.request(url, { agent: this.#secure, method, headers })
      : http.request(url, { agent: this.#plain, method, headers });
  }
}
