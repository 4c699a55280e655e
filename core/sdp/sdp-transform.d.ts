/** The part of sdp-transform that we use; the package has no types of its own. */
declare module 'sdp-transform' {
  /** Attributes of one media section, as far as their lines matched the package's grammar; nothing is validated. */
  type TransformedMedia = {
    readonly rtp: readonly {
      readonly payload?: unknown;
      readonly codec?: unknown;
      readonly rate?: unknown;
      readonly encoding?: unknown;
    }[];
    readonly fmtp: readonly { readonly payload?: unknown; readonly config?: unknown }[];
    readonly ptime?: unknown;
    readonly maxptime?: unknown;
    readonly direction?: unknown;
    readonly rtcp?: {
      readonly port?: unknown;
      readonly ipVer?: unknown;
      readonly address?: unknown;
    };
    readonly rtcpMux?: unknown;
  };

  export function parse(sdp: string): { readonly media: readonly TransformedMedia[] };
}
