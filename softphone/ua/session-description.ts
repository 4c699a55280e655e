/** Offers and answers of one call, in the shape that sip.js asks for: no browser, our own SDP, our own RTP. */

import type { BodyAndContentType, SessionDescriptionHandler } from 'sip.js';
import { CODEC_NAMES } from '../../core/audio/codec-name.ts';
import type { CodecName } from '../../core/audio/codec-name.ts';
import { ParseError, ProtocolError, RefusedError } from '../../core/errors.ts';
import { agreementFrom, answerFor, buildOffer } from '../../core/sdp/offer-answer.ts';
import type { AudioAgreement, Capabilities, Codec } from '../../core/sdp/offer-answer.ts';
import type { Direction } from '../../core/sdp/session-description.ts';

/** Where agreed media go: an `RtpSession`, or its stand-in. */
export type AgreedMedia = {
  readonly port: number;
  apply(agreement: AudioAgreement): void;
};

/** What goes into `a=fmtp` of Opus: FEC is welcome, mono is enough (RFC 7587 §6.1). */
const OPUS_PARAMETERS = 'useinbandfec=1';
const CODECS: Readonly<Record<CodecName, Codec>> = {
  opus: {
    encoding: 'opus',
    clockRateHz: 48_000,
    channels: 2,
    payloadType: 111,
    parameters: OPUS_PARAMETERS,
  },
  PCMU: { encoding: 'PCMU', clockRateHz: 8000, channels: 1, payloadType: 0 },
  PCMA: { encoding: 'PCMA', clockRateHz: 8000, channels: 1, payloadType: 8 },
};
const SDP = 'application/sdp';

export class CallDescription implements SessionDescriptionHandler {
  /** What we want to do from the next offer or answer on. */
  direction: Direction = 'sendrecv';
  /** Our codecs, the best one first. */
  codecs: readonly CodecName[];
  readonly #media: AgreedMedia;
  readonly #address: string;
  readonly #onAgreed: (agreement: AudioAgreement) => void;
  readonly #sessionId: string;
  #version = 0;
  #ownOffer: string | undefined;
  #theirOffer: string | undefined;

  /** @param address - of this machine, numeric, as the other side can reach it */
  constructor(options: {
    readonly media: AgreedMedia;
    readonly address: string;
    readonly codecs: readonly CodecName[];
    readonly onAgreed: (agreement: AudioAgreement) => void;
  }) {
    this.#media = options.media;
    this.#address = options.address;
    this.codecs = options.codecs.length === 0 ? CODEC_NAMES : options.codecs;
    this.#onAgreed = options.onAgreed;
    this.#sessionId = String(Math.floor(Math.random() * 2 ** 48));
  }

  /** The answer to their offer, if one waits; or else our offer. */
  getDescription(): Promise<BodyAndContentType> {
    return promiseOf(() => {
      const capabilities = this.#capabilities();
      const theirs = this.#theirOffer;
      if (theirs === undefined) {
        this.#ownOffer = buildOffer(capabilities);
        return { body: this.#ownOffer, contentType: SDP };
      }
      const { sdp, agreement } = answerFor(theirs, capabilities);
      this.#theirOffer = undefined;
      this.#agreed(agreement);
      return { body: sdp, contentType: SDP };
    });
  }

  /** Their answer to our offer, if one is out; or else their offer. */
  setDescription(sdp: string): Promise<void> {
    return promiseOf(() => {
      if (this.#ownOffer === undefined) {
        this.#theirOffer = sdp;
        return;
      }
      const agreement = agreementFrom(this.#ownOffer, sdp);
      this.#ownOffer = undefined;
      this.#agreed(agreement);
    });
  }

  /** A description in a 183: lets us hear what the other side plays before it answers. The 200 repeats it. */
  preview(sdp: string): void {
    if (this.#ownOffer !== undefined) this.#agreed(agreementFrom(this.#ownOffer, sdp));
  }

  /** The re-INVITE was refused: everything stays as it was. */
  rollbackDescription(): Promise<void> {
    this.#ownOffer = undefined;
    this.#theirOffer = undefined;
    return Promise.resolve();
  }

  hasDescription(contentType: string): boolean {
    return contentType.trim().toLowerCase().startsWith(SDP);
  }

  /** Keys go out as telephone-events, not through sip.js. */
  sendDtmf(): boolean {
    return false;
  }

  close(): void {
    // The call closes its media.
  }

  #agreed(agreement: AudioAgreement): void {
    this.#media.apply(agreement);
    this.#onAgreed(agreement);
  }

  #capabilities(): Capabilities {
    this.#version += 1;
    return {
      codecs: this.codecs.map((name) => CODECS[name]),
      hasTelephoneEvent: true,
      direction: this.direction,
      ptimeMs: 20,
      sessionId: this.#sessionId,
      sessionVersion: String(this.#version),
      address: this.#address,
      port: this.#media.port,
      hasRtcpMux: true,
    };
  }
}

/** Settles at once, so that no other message can come in between; errors of SDP become what sip.js can answer with. */
function promiseOf<T>(work: () => T): Promise<T> {
  try {
    return Promise.resolve(work());
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return Promise.reject(
      new RefusedError('softphone.sdp.unacceptable', `No agreement on sound: ${message}.`, 488),
    );
  }
}

/** The status with which an offer must be refused; undefined when it can be answered. */
export function checkOffer(offer: string, codecs: readonly CodecName[]): number | undefined {
  try {
    answerFor(offer, {
      codecs: codecs.map((name) => CODECS[name]),
      hasTelephoneEvent: true,
      sessionId: '0',
      sessionVersion: '0',
      address: '127.0.0.1',
      port: 9,
    });
    return undefined;
  } catch (error) {
    if (error instanceof ParseError) return 400;
    if (error instanceof ProtocolError) return error.sipStatus;
    throw error;
  }
}
