/** The offer of one call to several devices: one session in the relay for each address family among them. */
import { randomUUID } from 'node:crypto';
import type { CallStatistics, MediaRelay } from '../../../media-relay/public.ts';
import { CallMedia } from './media.ts';

/** What a device is offered, and by which session of the relay. */
export type DeviceOffer = { readonly media: CallMedia; readonly sdp: string | undefined };

export class Offers {
  readonly #relay: MediaRelay;
  readonly #prepared = new Map<4 | 6, DeviceOffer>();
  readonly #losers = new Set<CallMedia>();
  #media: CallMedia;

  constructor(relay: MediaRelay) {
    this.#relay = relay;
    this.#media = this.#newMedia();
  }

  /** The session of the device that has taken the call; until then, or when the devices make the offer, the first. */
  get media(): CallMedia {
    return this.#media;
  }

  /**
   * Asks the relay for an address in each family; a family that the relay does not have is offered another.
   *
   * @param receivedFrom - where the caller's signalling comes from
   * @param towards - numeric addresses of the devices, at least one
   * @throws what the relay says, when it has no address for anybody
   */
  async prepare(sdp: string, receivedFrom: string, towards: readonly string[]): Promise<void> {
    const [first] = towards;
    const places = new Map<4 | 6, string>();
    for (const address of towards) {
      if (!places.has(familyOf(address))) places.set(familyOf(address), address);
    }
    const attempts = [...places].map(async ([family, place]) => {
      const media = place === first ? this.#media : this.#newMedia();
      this.#losers.add(media);
      const offer = await media.offer('caller', sdp, { receivedFrom, towards: place });
      this.#prepared.set(family, { media, sdp: offer });
    });
    await Promise.allSettled(attempts);
    if (this.#prepared.size === 0) await Promise.all(attempts);
  }

  /** The offer for a device at this address. */
  for(address: string): DeviceOffer {
    const [anyOffer] = this.#prepared.values();
    const own = this.#prepared.get(familyOf(address));
    return own ?? anyOffer ?? { media: this.#media, sdp: undefined };
  }

  /** A device has taken the call: the other family's ports are free again. */
  choose(media: CallMedia): void {
    this.#media = media;
    for (const other of this.#losers) if (other !== media) void other.release().catch(ignore);
    this.#losers.clear();
  }

  /** Frees every port. @returns the relay's counters of the call */
  release(): Promise<CallStatistics | undefined> {
    this.choose(this.#media);
    return this.#media.release();
  }

  #newMedia(): CallMedia {
    return new CallMedia(this.#relay, randomUUID());
  }
}

function familyOf(address: string): 4 | 6 {
  return address.includes(':') ? 6 : 4;
}

function ignore(): void {
  // The relay is gone, and its ports with it.
}
