/** Where the other side's packets come from and ours go to: what SDP says, or else who really sends (RFC 4961). */

export type SourceAddress = { readonly address: string; readonly port: number };

/**
 * Deviation from plain latching: packets from the place that SDP names are always right, and end the claim of any
 * other source; another source is believed only while nothing comes from there (a phone behind a NAT).
 */
export class RemoteSource {
  #promised: SourceAddress | undefined;
  #latched: SourceAddress | undefined;

  /** SDP has said something, new or not. @param address - undefined when nothing is to be sent there */
  expect(address: string | undefined, port: number): void {
    const promised = address === undefined || port === 0 ? undefined : { address, port };
    if (promised === undefined) {
      // On hold by 0.0.0.0: keep listening to whom we know.
      this.#promised = undefined;
      return;
    }
    if (isSame(this.#promised, promised)) return;
    this.#promised = promised;
    this.#latched = undefined;
  }

  /** Where to send; undefined when there is no such place. */
  get target(): SourceAddress | undefined {
    if (this.#promised === undefined) return undefined;
    return this.#latched ?? this.#promised;
  }

  /** Whether a packet from there belongs to the call. */
  accepts(from: SourceAddress): boolean {
    if (isSame(this.#promised, from)) {
      this.#latched = this.#promised;
      return true;
    }
    this.#latched ??= { address: from.address, port: from.port };
    return isSame(this.#latched, from);
  }
}

function isSame(a: SourceAddress | undefined, b: SourceAddress): boolean {
  return a?.address === b.address && a.port === b.port;
}
