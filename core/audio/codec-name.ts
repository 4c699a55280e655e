/** The audio codecs that we speak, as SDP names them. */

export const CODEC_NAMES = ['opus', 'PCMU', 'PCMA'] as const;
export type CodecName = (typeof CODEC_NAMES)[number];
