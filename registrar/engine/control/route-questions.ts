/** New requests about which a web server is asked what is to become of them. */

import { invariant } from '../../../core/invariant.ts';
import { parseTemplate } from '../template.ts';
import type { Kernel } from '../kernel.ts';
import type { EngineInput } from '../seam.ts';
import type { TimerHandle, TimerOwner } from '../timers.ts';
import type { UasRequest } from '../uas/uas-request.ts';
import type { Application } from './applications.ts';
import type { ProxyOrder } from './commands.ts';
import { isGuarded, type ApplicationPlace, type Handler } from './request-handlers.ts';
import {
  parseRouteAnswer,
  questionUrl,
  type ProxyAnswer,
  type RouteAnswer,
} from './route-answer.ts';

type WebHandler = Extract<Handler, { kind: 'web' }>;

/** Who carries out what was decided. */
type RouteQuestionsOwner = {
  refuse(
    request: UasRequest,
    status: number,
    headers: readonly (readonly [string, string])[],
    reason?: string,
  ): void;
  proxy(order: ProxyOrder): void;
  /** Gives it to an application that is connected. */
  give(request: UasRequest, application: Application): void;
  /** Connects to an application and gives it to that one. @returns false when no more connections may be opened */
  connect(request: UasRequest, place: ApplicationPlace): boolean;
};

class Question implements TimerOwner {
  readonly id: number;
  readonly request: UasRequest;
  timer: TimerHandle | undefined;
  readonly #overdue: (question: Question) => void;

  constructor(id: number, request: UasRequest, overdue: (question: Question) => void) {
    this.id = id;
    this.request = request;
    this.#overdue = overdue;
  }

  onTimer(): void {
    this.timer = undefined;
    this.#overdue(this);
  }
}

export class RouteQuestions {
  readonly #kernel: Kernel;
  readonly #owner: RouteQuestionsOwner;
  readonly #byId = new Map<number, Question>();
  readonly #byRequest = new Map<UasRequest, Question>();
  #nextId = 1;

  constructor(kernel: Kernel, owner: RouteQuestionsOwner) {
    this.#kernel = kernel;
    this.#owner = owner;
  }

  get size(): number {
    return this.#byId.size;
  }

  get isFull(): boolean {
    return this.#byId.size >= this.#kernel.limits.routeQuestions;
  }

  /** Asks what is to become of a request that no application knows of. */
  ask(request: UasRequest, { url: base, withBody }: WebHandler): void {
    const { message, hop } = request;
    const url = questionUrl(base, message, hop);
    if (url === undefined) {
      this.#kernel.counters.refusals.add('routeQuestionTooLong');
      this.#owner.refuse(request, 513, []);
      return;
    }
    const question = new Question(this.#nextId, request, (overdue) => {
      this.#kernel.emit({ kind: 'dropRouteQuestion', questionId: overdue.id });
      this.#undecided(overdue, 'routeTimeout');
    });
    this.#nextId += 1;
    this.#byId.set(question.id, question);
    this.#byRequest.set(request, question);
    question.timer = this.#kernel.setTimer(question, 'route', this.#kernel.timers.routeAnswerMs);
    const body = withBody ? message.bytes : undefined;
    this.#kernel.emit({ kind: 'askRoute', questionId: question.id, url, body });
  }

  /** The web server has answered. */
  answered({ questionId, body }: Extract<EngineInput, { kind: 'routeAnswered' }>): void {
    const question = this.#byId.get(questionId);
    if (question === undefined) return;
    const answer = parseRouteAnswer(body);
    if (answer === undefined) this.#undecided(question, 'routeMalformed');
    else this.#carryOut(this.#forget(question), answer);
  }

  /** It has not, and will not. */
  unanswered({ questionId, reason }: Extract<EngineInput, { kind: 'routeUnanswered' }>): void {
    const question = this.#byId.get(questionId);
    if (question !== undefined) this.#undecided(question, reason);
  }

  /** The request has come to an end in another way. */
  dropped(request: UasRequest): void {
    const question = this.#byRequest.get(request);
    if (question === undefined) return;
    this.#forget(question);
    this.#kernel.emit({ kind: 'dropRouteQuestion', questionId: question.id });
  }

  #forget(question: Question): UasRequest {
    this.#kernel.clearTimer(question.timer);
    this.#byId.delete(question.id);
    this.#byRequest.delete(question.request);
    return question.request;
  }

  /** As drachtio-server, but the caller is told when a later attempt may succeed. */
  #undecided(
    question: Question,
    kind: 'routeTimeout' | 'routeMalformed' | 'routeUnanswered' | 'routeTooLong',
  ): void {
    this.#kernel.counters.controlErrors.add(kind);
    const mayPass = kind === 'routeTimeout' || kind === 'routeUnanswered';
    const { routeAnswerMs } = this.#kernel.timers;
    const headers = mayPass ? [this.#kernel.retryAfter(routeAnswerMs)] : [];
    this.#owner.refuse(this.#forget(question), 500, headers);
  }

  #carryOut(request: UasRequest, answer: RouteAnswer): void {
    switch (answer.action) {
      case 'reject':
        this.#owner.refuse(request, answer.status, [], answer.reason);
        return;
      case 'redirect': {
        const contacts = answer.contacts.map((contact) => ['Contact', contact] as const);
        this.#owner.refuse(request, 302, contacts);
        return;
      }
      case 'proxy':
        this.#owner.proxy(orderOf(request, answer));
        return;
      case 'connect':
        this.#connect(request, answer.place);
        return;
      case 'tag':
        this.#give(request, answer.tag);
    }
  }

  #connect(request: UasRequest, place: ApplicationPlace): void {
    const { applications, counters, timers } = this.#kernel;
    if (applications.isPartlyTrusted && !isGuarded(place)) {
      counters.controlErrors.add('routeUnguarded');
      this.#owner.refuse(request, 480, []);
    } else if (!this.#owner.connect(request, place)) {
      counters.refusals.add('overload');
      this.#owner.refuse(request, 503, [this.#kernel.retryAfter(timers.dialMs)]);
    }
  }

  #give(request: UasRequest, tag: string): void {
    const { applications, nowMs, counters } = this.#kernel;
    const verb = request.message.method.toLowerCase();
    const application = applications.selectTagged(verb, tag, nowMs);
    if (application !== undefined) {
      this.#owner.give(request, application);
      return;
    }
    counters.controlErrors.add('routeUnknownTag');
    this.#owner.refuse(request, 480, []);
  }
}

/** An order as an application would have given it that does not want to hear of the outcome. */
function orderOf(
  { application, transactionId, message }: UasRequest,
  search: ProxyAnswer,
): ProxyOrder {
  const template = parseTemplate(Buffer.from(`${message.method} sip:x SIP/2.0\r\n\r\n`, 'utf8'));
  invariant(template, 'a start line and an empty line are a template');
  return { ...search, application, requestId: '', transactionId, wantsResponses: false, template };
}
