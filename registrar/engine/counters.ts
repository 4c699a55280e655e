/** What the engine counts: messages by method, status and transport, and every kind of refusal. */

/** A family of counters that share a label, for example requests by method. */
export class CounterFamily {
  readonly #counts = new Map<string, number>();

  add(label: string, amount = 1): void {
    this.#counts.set(label, (this.#counts.get(label) ?? 0) + amount);
  }

  get(label: string): number {
    return this.#counts.get(label) ?? 0;
  }

  toRecord(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }
}

/** Labels come from closed sets (known methods, three-digit statuses), so that a peer cannot make memory grow. */
export class EngineCounters {
  readonly requestsReceived = new CounterFamily();
  readonly requestsSent = new CounterFamily();
  readonly responsesReceived = new CounterFamily();
  readonly responsesSent = new CounterFamily();
  readonly messagesByTransport = new CounterFamily();
  /** Why something was dropped or refused before any application saw it. */
  readonly refusals = new CounterFamily();
  readonly controlErrors = new CounterFamily();

  toRecord(): EngineCounts {
    return {
      requestsReceived: this.requestsReceived.toRecord(),
      requestsSent: this.requestsSent.toRecord(),
      responsesReceived: this.responsesReceived.toRecord(),
      responsesSent: this.responsesSent.toRecord(),
      messagesByTransport: this.messagesByTransport.toRecord(),
      refusals: this.refusals.toRecord(),
      controlErrors: this.controlErrors.toRecord(),
    };
  }
}

type Counts = Readonly<Record<string, number>>;

/** A copy of all counters, label to count. */
export type EngineCounts = {
  readonly requestsReceived: Counts;
  readonly requestsSent: Counts;
  readonly responsesReceived: Counts;
  readonly responsesSent: Counts;
  readonly messagesByTransport: Counts;
  readonly refusals: Counts;
  readonly controlErrors: Counts;
};
