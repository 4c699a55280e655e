/** All room participants of one relay worker: negotiates, gives them ports, and hands their packets to the mixer. */

import { RefusedError } from '../../core/errors.ts';
import { ipVersion } from '../../core/sdp/address.ts';
import { agreementFrom, answerFor, buildOffer } from '../../core/sdp/offer-answer.ts';
import type { Capabilities, Codec } from '../../core/sdp/offer-answer.ts';
import { parseSessionDescription } from '../../core/sdp/parse.ts';
import type { SessionDescription } from '../../core/sdp/session-description.ts';
import type { ParticipantKey, RoomJoinRequest, RoomStatistics } from '../messages.ts';
import { ROOM_CODECS } from '../room/seam.ts';
import type { RoomCodec, RoomMixer } from '../room/seam.ts';
import { offeredAudio } from './call.ts';
import type { RelayResources } from './forwarder.ts';
import { Leg } from './leg.ts';
import { RoomPort } from './participant.ts';
import { SerialQueue } from './serial-queue.ts';

/** How often due reports are looked for, as a part of their interval. */
const RTCP_TICKS_PER_INTERVAL = 20;

const CODECS: Readonly<Record<RoomCodec, Codec>> = {
  opus: {
    encoding: 'opus',
    clockRateHz: 48_000,
    channels: 2,
    payloadType: 96,
    parameters: 'useinbandfec=1',
  },
  PCMU: { encoding: 'PCMU', clockRateHz: 8000, channels: 1, payloadType: 0 },
  PCMA: { encoding: 'PCMA', clockRateHz: 8000, channels: 1, payloadType: 8 },
};

type RoomKey = ParticipantKey & { readonly room: string };

export class Rooms {
  readonly #resources: RelayResources;
  readonly #mixer: RoomMixer;
  readonly #rooms = new Map<string, Map<string, RoomPort>>();
  readonly #queue = new SerialQueue();
  #rtcpTimer: NodeJS.Timeout | undefined;
  #participantCount = 0;

  constructor(resources: RelayResources, mixer: RoomMixer) {
    this.#resources = resources;
    this.#mixer = mixer;
  }

  get roomCount(): number {
    return this.#rooms.size;
  }

  get participantCount(): number {
    return this.#participantCount;
  }

  /**
   * Lets somebody in, or changes what was agreed with somebody who is in.
   *
   * @returns our answer; our offer when the request has no description
   * @throws ParseError, ProtocolError 488, RefusedError, ResourceError; a newcomer is not in then and has no port
   */
  join(request: RoomJoinRequest): Promise<string> {
    return this.#queue.run(keyOf(request), async () => {
      const offer = request.sdp === undefined ? undefined : parseSessionDescription(request.sdp);
      const known = this.#find(request);
      if (known !== undefined) return this.#negotiate(known, offer);
      const port = await this.#open(request, offer);
      try {
        const sdp = this.#negotiate(port, offer);
        this.#add(port);
        return sdp;
      } catch (error) {
        this.#release(port);
        throw error;
      }
    });
  }

  /** @throws RefusedError 481 when no offer of ours is open; ParseError, ProtocolError as `join` */
  answer(request: RoomKey & { readonly sdp: string }): Promise<void> {
    return this.#queue.run(keyOf(request), () => {
      const port = this.#find(request);
      if (port?.openOffer === undefined) {
        throw new RefusedError('relay.offer.unknown', 'no offer waits for this answer', 481);
      }
      port.agree(agreementFrom(port.openOffer, request.sdp), this.#mixer);
      port.openOffer = undefined;
    });
  }

  /** Leaving where one is not is no error. */
  leave(request: RoomKey): Promise<void> {
    return this.#queue.run(keyOf(request), () => {
      const port = this.#find(request);
      if (port === undefined) return;
      const room = this.#rooms.get(request.room);
      room?.delete(keyOf(request));
      if (room?.size === 0) this.#rooms.delete(request.room);
      this.#participantCount -= 1;
      this.#release(port);
      this.#runRtcpTimer();
    });
  }

  /** @throws RefusedError 404 `relay.participant.unknown` */
  mute(request: RoomKey & { readonly isMuted: boolean }): Promise<void> {
    return this.#queue.run(keyOf(request), () => {
      const port = this.#find(request);
      if (port === undefined) {
        throw new RefusedError('relay.participant.unknown', 'nobody of that name in the room', 404);
      }
      port.setMuted(request.isMuted);
    });
  }

  query(room: string): RoomStatistics | undefined {
    const ports = this.#rooms.get(room);
    if (ports === undefined) return undefined;
    const participants = [...ports.values()].flatMap((port) => port.statistics() ?? []);
    return { room, participants };
  }

  close(): void {
    for (const room of this.#rooms.values()) {
      for (const port of room.values()) this.#release(port);
    }
    this.#rooms.clear();
    this.#participantCount = 0;
    this.#runRtcpTimer();
    this.#mixer.close();
  }

  #find(key: RoomKey): RoomPort | undefined {
    return this.#rooms.get(key.room)?.get(keyOf(key));
  }

  #add(port: RoomPort): void {
    let room = this.#rooms.get(port.room);
    if (room === undefined) {
      room = new Map();
      this.#rooms.set(port.room, room);
    }
    room.set(keyOf(port), port);
    this.#participantCount += 1;
    this.#runRtcpTimer();
  }

  async #open(request: RoomJoinRequest, offer: SessionDescription | undefined): Promise<RoomPort> {
    const { addresses, ports, settings, now } = this.#resources;
    const theirs = offer === undefined ? undefined : offeredAudio(offer).media.address;
    const local = await addresses.choose({
      ipVersion: theirs === undefined ? undefined : ipVersion(theirs),
      towards: request.towards ?? theirs,
    });
    const leg = new Leg(await ports.allocate(local.bind), local, settings, now);
    return new RoomPort(request, leg, now(), settings.rtcpIntervalMs);
  }

  #release(port: RoomPort): void {
    port.leave();
    this.#resources.ports.release(port.leg.pair);
  }

  #negotiate(port: RoomPort, offer: SessionDescription | undefined): string {
    if (offer === undefined) {
      const sdp = this.#versioned(port, buildOffer);
      port.openOffer = sdp;
      return sdp;
    }
    const { agreement } = answerFor(offer, capabilitiesOf(port));
    port.agree(agreement, this.#mixer);
    return this.#versioned(port, (capabilities) => answerFor(offer, capabilities).sdp);
  }

  /** The same words keep their version, changed ones get the next (RFC 3264 §8). */
  #versioned(port: RoomPort, write: (capabilities: Capabilities) => string): string {
    const same = write(capabilitiesOf(port));
    if (same === port.localSdp) return same;
    port.sessionVersion += 1;
    port.localSdp = write(capabilitiesOf(port));
    return port.localSdp;
  }

  /** The timer runs only while somebody is there to report to. */
  #runRtcpTimer(): void {
    if (this.#participantCount === 0) {
      clearInterval(this.#rtcpTimer);
      this.#rtcpTimer = undefined;
      return;
    }
    this.#rtcpTimer ??= setInterval(() => {
      this.#sendDueReports();
    }, this.#resources.settings.rtcpIntervalMs / RTCP_TICKS_PER_INTERVAL);
  }

  #sendDueReports(): void {
    const nowMs = this.#resources.now();
    for (const room of this.#rooms.values()) {
      for (const port of room.values()) {
        if (port.nextReportMs <= nowMs) port.report(nowMs);
      }
    }
  }
}

function keyOf({ room, callId, fromTag }: RoomKey): string {
  return JSON.stringify([room, callId, fromTag]);
}

function capabilitiesOf(port: RoomPort): Capabilities {
  return {
    codecs: ROOM_CODECS.map((name) => CODECS[name]),
    hasTelephoneEvent: true,
    hasComfortNoise: true,
    codecLimit: 1,
    ptimeMs: 20,
    sessionId: port.sessionId,
    sessionVersion: String(port.sessionVersion),
    address: port.leg.address,
    port: port.leg.port,
    rtcpPort: port.leg.rtcpPort,
    hasRtcpMux: true,
  };
}
