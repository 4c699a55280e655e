/** What a scenario over two engines is, and what it is played with: phones, applications, and the engine between them. */

import net from 'node:net';
import type { Dialog, Middleware, SipRequest } from '../../../registrar/app/srf.ts';
import type { SipMessage } from '../../../core/sip/message.ts';
import type { OutgoingMessage } from '../../../core/sip/outgoing-message.ts';
import { sdp } from '../../support/sdp.ts';
import {
  PlainApplication,
  type CallRecordHandler,
  type EngineName,
  type RunningTestEngine,
} from '../../support/sip-engines.ts';
import { SipPeer, type Call, type PeerOptions } from '../../support/sip-peer.ts';

export const OURS = sdp({ port: 41_000 });
export const OTHER = sdp({ port: 42_000, version: 2 });
export const GREETING = 'Grüße aus Übersee – こんにちは 🙂';
/** How long to look for something that may not come. */
export const LOOK_MS = 1500;

/** What can be seen from outside, in terms that do not depend on ports, tags and times. */
export type Outcome = Readonly<Record<string, unknown>>;

export type Scenario = {
  readonly title: string;
  readonly run: (stage: Stage) => Promise<Outcome>;
  readonly expected: Outcome;
  /** What a drachtio-server does instead; `row` is the entry in docs/drachtio.md. */
  readonly difference?: { readonly row: string; readonly outcome: Outcome };
  /** It takes so long that the other engine is asked only with PARLEY_TEST_SLOW=1. */
  readonly isSlow?: true;
};

/** Gives the functions in a list of them their types. */
export function scenarios(list: readonly Scenario[]): readonly Scenario[] {
  return list;
}

/** The engine, and what one scenario opens on it. */
export class Stage {
  readonly engine: RunningTestEngine;
  readonly name: EngineName;
  readonly #closers: (() => unknown)[] = [];

  constructor(name: EngineName, engine: RunningTestEngine) {
    this.name = name;
    this.engine = engine;
  }

  async phone(options: PeerOptions = {}): Promise<SipPeer> {
    const peer = await SipPeer.open({ server: this.engine.sip, user: 'alice', ...options });
    this.#closers.push(() => peer.close());
    return peer;
  }

  /** With handlers by method in lower case, and those of call records by name, such as `cdr:start`. */
  async application(
    handlers: Readonly<Record<string, Middleware>> = {},
    records: Readonly<Record<string, CallRecordHandler>> = {},
  ): Promise<PlainApplication> {
    const application = await PlainApplication.connect(this.engine, handlers, records);
    this.#closers.push(() => {
      application.close();
    });
    return application;
  }

  /** The application's address, as a phone would dial it. */
  get service(): string {
    return `sip:service@${this.engine.sip.address}:${this.engine.sip.port}`;
  }

  /** An application that answers each INVITE; `up` settles when the first call is up. */
  async answering(
    onDialog: (dialog: Dialog) => void = () => undefined,
    headers: Record<string, string> = {},
  ): Promise<{ application: PlainApplication; up: Promise<Dialog> }> {
    const { promise: up, resolve } = withResolver<Dialog>();
    const application = await this.application({
      invite: (request, response) => {
        void application.srf
          .createUAS(request, response, { localSdp: OURS, headers })
          .then((dialog) => {
            onDialog(dialog);
            resolve(dialog);
          });
      },
    });
    return { application, up };
  }

  /** A call that a phone has made to such an application. */
  async callToApplication(
    onDialog?: (dialog: Dialog) => void,
    options: PeerOptions & { readonly headers?: Record<string, string> } = {},
  ): Promise<{
    phone: SipPeer;
    call: Call;
    answer: SipMessage;
    dialog: Dialog;
    application: PlainApplication;
  }> {
    const { headers = {}, ...rest } = options;
    const { application, up } = await this.answering(onDialog);
    const phone = await this.phone(rest);
    const call = await phone.invite(this.service, { sdp: sdp(), headers });
    const answer = await call.answered();
    return { phone, call, answer, dialog: await up, application };
  }

  /** A call that an application has made to a phone. */
  async callFromApplication(
    headers: Record<string, string> = {},
  ): Promise<{ phone: SipPeer; call: Call; dialog: Dialog; application: PlainApplication }> {
    const application = await this.application();
    const phone = await this.phone({ user: 'bob' });
    const made = application.srf.createUAC({ uri: phone.contactUri, localSdp: OURS }, {});
    const call = await phone.expectCall();
    await call.answer(sdp(), { headers });
    return { phone, call, dialog: await made, application };
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }
}

export function withResolver<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}

/** The arguments of the next such event. */
export function next(
  emitter: { once(event: string, listener: (...args: never[]) => void): unknown },
  event: string,
): Promise<readonly unknown[]> {
  return new Promise((resolve) => {
    emitter.once(event, (...values: readonly unknown[]) => {
      resolve(values);
    });
  });
}

/** Does it come, or is it missed? */
export async function comes(event: Promise<unknown>): Promise<boolean> {
  return event.then(
    () => true,
    () => false,
  );
}

export function callback<T>(
  start: (done: (error: unknown, value: T) => void) => unknown,
): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (error === null || error === undefined) resolve(value);
      else reject(error instanceof Error ? error : new Error(inspect(error)));
    });
  });
}

export function inspect(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Why the other side, or the engine, has ended it. */
export const endedBy = async (dialog: Dialog): Promise<unknown> =>
  (await next(dialog, 'destroy'))[1];

/** The status with which a call that the application makes is answered in the end. */
export function statusOf(made: Promise<unknown>): Promise<number> {
  return made.then(
    () => 200,
    (error: unknown) => (error as { status: number }).status,
  );
}

/** The application hangs up, and the phone agrees. */
export async function hangUp(dialog: Dialog, call: Call): Promise<SipMessage> {
  const ended = callback<SipRequest | undefined>((done) => dialog.destroy({}, done));
  const bye = await call.expectBye();
  await ended;
  return bye;
}

/** RFC 3262 section 7.1: what acknowledges a reliable provisional response. */
export function prackFor(call: Call, response: SipMessage): OutgoingMessage {
  const rack = `${response.header('RSeq') ?? ''} ${response.header('CSeq') ?? ''}`;
  return earlyRequest(call, response, 'PRACK', 2).add('RAck', rack);
}

/** A request of the caller in the dialog that a provisional response has made (RFC 3261 section 12.2.1.1). */
export function earlyRequest(
  { peer, outgoing, callId }: Call,
  response: SipMessage,
  method: string,
  cseq: number,
): OutgoingMessage {
  const request = peer.buildRequest(method, response.contacts[0]?.uriText ?? '', {
    from: outgoing?.request.header('From') ?? '',
    to: response.header('To') ?? '',
    callId,
    cseq,
  });
  for (const route of response.recordRoutes.toReversed()) request.add('Route', route.toString());
  return request;
}

export async function closedTcpPort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Whether a request of this method comes to a phone; it is answered 200. */
export async function arrives(phone: SipPeer, method: string): Promise<SipMessage | undefined> {
  const request = await phone.expectRequest(method, LOOK_MS).catch(() => undefined);
  request?.reply(200);
  return request?.message;
}
