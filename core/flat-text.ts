/** Text in one piece, for what is kept. */

/**
 * The same text, no longer a chain of pieces of other texts: V8 joins and cuts without copying, so that a key made of
 * two words of a message would keep the whole message as long as the key is kept.
 */
export function flatText(text: string): string {
  // Reading a character makes V8 join the pieces; the comparison is there so that the reading is not optimised away.
  return text.charCodeAt(0) < 0 ? '' : text;
}
