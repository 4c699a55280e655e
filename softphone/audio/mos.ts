/** How a call sounds to a person, estimated from what the network does to it (ITU-T G.107, simplified). */

/** 1 (bad) to 4.5 (excellent). `delayMs` is one way, mouth to ear. */
export function estimateMos(
  lossPercent: number,
  delayMs: number,
  codec: string | undefined,
): number {
  // Equipment impairment and robustness (G.113): Opus is taken as a good codec with concealment, and with FEC.
  const robustness = codec === 'opus' ? 20 : 10;
  const delayImpairment = 0.024 * delayMs + (delayMs > 177.3 ? 0.11 * (delayMs - 177.3) : 0);
  const lossImpairment = (95 * lossPercent) / (lossPercent + robustness);
  const rating = Math.max(0, Math.min(100, 93.2 - delayImpairment - lossImpairment));
  const mos = 1 + 0.035 * rating + 7e-6 * rating * (rating - 60) * (100 - rating);
  return Math.max(1, Math.min(4.5, mos));
}
