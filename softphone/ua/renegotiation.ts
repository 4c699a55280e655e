/** Re-INVITEs of one call, one after the other, and again after a collision (RFC 3261 §14). */

import { Core, SessionState } from 'sip.js';
import type { Session } from 'sip.js';
import type { Clock } from '../audio/device.ts';

const ATTEMPTS = 4;
const COLLISION = 491;
const ACK_POLL_MS = 20;

export class Renegotiation {
  readonly #session: Session;
  readonly #clock: Clock;
  readonly #isCaller: boolean;
  #last: Promise<unknown> = Promise.resolve();

  /** @param isCaller - whether we made the call */
  constructor(session: Session, clock: Clock, isCaller: boolean) {
    this.#session = session;
    this.#clock = clock;
    this.#isCaller = isCaller;
  }

  /** Sends an offer when those before it are through. @returns the final status; 481 when the call is gone */
  run(): Promise<number> {
    const run = this.#last.then(() => this.#attempt());
    this.#last = run;
    return run;
  }

  async #attempt(): Promise<number> {
    for (let attempt = 1; ; attempt += 1) {
      await this.#untilConfirmed();
      const statusCode = await this.#send();
      if (statusCode !== COLLISION || attempt === ATTEMPTS) return statusCode;
      // RFC 3261 §14.1: whoever made the call waits longer.
      const delayMs = (this.#isCaller ? 2100 : 0) + Math.random() * 1900;
      await new Promise<void>((resolve) => {
        this.#clock.setTimer(resolve, delayMs, true);
      });
    }
  }

  /** sip.js ends a call when the ACK of the INVITE comes after an offer of ours: wait for it (RFC 5407 §3.1.4). */
  async #untilConfirmed(): Promise<void> {
    const session = this.#session;
    while (
      session.state === SessionState.Established &&
      session.dialog?.sessionState === Core.SessionState.AckWait
    ) {
      await new Promise<void>((resolve) => {
        this.#clock.setTimer(resolve, ACK_POLL_MS, true);
      });
    }
  }

  /** The status of the answer; 491 also when a re-INVITE of theirs is under way. */
  #send(): Promise<number> {
    const session = this.#session;
    if (session.state !== SessionState.Established) return Promise.resolve(481);
    return new Promise((resolve) => {
      const ended = (state: SessionState): void => {
        if (state === SessionState.Terminated) resolve(481);
      };
      const finish = (statusCode: number): void => {
        session.stateChange.removeListener(ended);
        resolve(statusCode);
      };
      const answered = ({ message }: Core.IncomingResponse): void => {
        finish(message.statusCode ?? 500);
      };
      session.stateChange.addListener(ended);
      session
        .invite({
          requestDelegate: { onAccept: answered, onReject: answered, onRedirect: answered },
        })
        .catch(() => {
          finish(COLLISION);
        });
    });
  }
}
