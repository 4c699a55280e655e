/** The media of one call: every offer and answer goes through the relay, which puts itself between the two sides. */
import { ParseError, ProtocolError } from '../../../core/errors.ts';
import { parseSessionDescription } from '../../../core/sdp/parse.ts';
import { activeAudioIndex } from '../../../core/sdp/session-description.ts';
import type { CallStatistics, MediaRelay } from '../../../media-relay/public.ts';

export type Side = 'caller' | 'callee';

export function otherSide(side: Side): Side {
  return side === 'caller' ? 'callee' : 'caller';
}

type Agreement = { readonly offerer: Side; readonly offer: string; readonly answer: string };
type PlainProfile = 'RTP/AVP' | 'RTP/AVPF';

/**
 * Checks the offer of a new call.
 *
 * @throws ParseError when it is no SDP (400)
 * @throws ProtocolError 488 when it has no audio stream in use
 */
export function checkInitialOffer(sdp: string): void {
  if (activeAudioIndex(parseSessionDescription(sdp)) === undefined) {
    throw new ProtocolError('sdp.audio.missing', 'the offer has no audio stream', 488);
  }
}

/**
 * Plain RTP in the profile that the receiver understands: AVPF is offered as AVP to who has not shown that he knows
 * it, because phones exist that refuse it with 488. Secured profiles are left to the two ends.
 *
 * @param known - what this receiver last wrote himself
 */
export function profileFor(known: string | undefined, sdp: string): PlainProfile | undefined {
  const written = profileOf(sdp);
  if (!isPlain(written)) return undefined;
  const wanted = isPlain(known) ? known : 'RTP/AVP';
  return wanted === written ? undefined : wanted;
}

function isPlain(profile: string | undefined): profile is PlainProfile {
  return profile === 'RTP/AVP' || profile === 'RTP/AVPF';
}

/** The profile of the first audio stream. */
export function profileOf(sdp: string): string | undefined {
  return /^m=audio \S+ (\S+)/m.exec(sdp)?.[1];
}

/** Numeric addresses, by which the relay chooses its own; only what is known. */
export type Route = {
  /** Where the signalling of the side that makes the offer comes from. */
  readonly receivedFrom?: string | undefined;
  /** Where the offer goes. */
  readonly towards?: string | undefined;
};

export class CallMedia {
  readonly #relay: MediaRelay;
  readonly #callId: string;
  readonly #profiles: Record<Side, string | undefined> = { caller: undefined, callee: undefined };
  #pending: { readonly offerer: Side; readonly offer: string } | undefined;
  #agreed: Agreement | undefined;
  #isUsed = false;
  #isReleased = false;

  /** @param callId - unique in the relay; both sides' tags are the names of the sides */
  constructor(relay: MediaRelay, callId: string) {
    this.#relay = relay;
    this.#callId = callId;
  }

  /** @returns what to offer to the other side */
  async offer(from: Side, sdp: string, route: Route = {}): Promise<string> {
    const isFirst = this.#agreed === undefined;
    this.#check(sdp);
    this.#pending = { offerer: from, offer: sdp };
    this.#profiles[from] = profileOf(sdp);
    const reply = await this.#relay.offer({
      callId: this.#callId,
      fromTag: from,
      toTag: isFirst ? undefined : otherSide(from),
      sdp,
      transportProtocol: profileFor(this.#profiles[otherSide(from)], sdp),
      ...route,
    });
    return reply.sdp;
  }

  /**
   * Also for a second answer to the same offer: early media of one device, then the call taken at another.
   *
   * @returns what to answer to the side that made the offer, in the profile that it offered
   */
  async answer(from: Side, sdp: string): Promise<string> {
    const offer = this.#pending ?? this.#agreed;
    if (offer === undefined) throw new ProtocolError('call.offer.missing', 'no offer', 500);
    this.#check(sdp);
    this.#profiles[from] = profileOf(sdp);
    const reply = await this.#relay.answer({
      callId: this.#callId,
      fromTag: otherSide(from),
      toTag: from,
      sdp,
    });
    this.#agreed = { offerer: offer.offerer, offer: offer.offer, answer: sdp };
    this.#pending = undefined;
    return reply.sdp;
  }

  /** What this side said last of what was agreed; undefined before the first agreement. */
  agreedSdp(side: Side): string | undefined {
    const agreed = this.#agreed;
    return agreed?.offerer === side ? agreed.offer : agreed?.answer;
  }

  /** After a refused re-offer the session stays as it was (RFC 3261 section 14.1): tells the relay so. */
  async restore(): Promise<void> {
    const agreed = this.#agreed;
    if (agreed === undefined || this.#isReleased) return;
    await this.offer(agreed.offerer, agreed.offer);
    await this.answer(otherSide(agreed.offerer), agreed.answer);
  }

  /** Frees the ports. @returns the relay's counters, when it had anything */
  async release(): Promise<CallStatistics | undefined> {
    if (this.#isReleased || !this.#isUsed) return undefined;
    this.#isReleased = true;
    return this.#relay.delete({ callId: this.#callId });
  }

  #check(sdp: string): void {
    if (this.#isReleased) throw new ProtocolError('call.over', 'the call is over', 481);
    if (sdp === '') throw new ParseError('sdp.empty', 'no session description');
    this.#isUsed = true;
  }
}
