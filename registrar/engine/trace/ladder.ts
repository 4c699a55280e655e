/** The trace as a ladder for the terminal: who called us on the left, whom we called on the right. */
import { SipMessage } from '../../../core/sip/message.ts';
import type { Captured } from './captured.ts';

/** Width of a column with an address, and of an arrow. */
const ADDRESS_WIDTH = 28;
const ARROW_WIDTH = 34;
/** Calls whose side is remembered; the oldest is forgotten first. */
const MAX_CALLS = 10_000;

export class Ladder {
  /** Call-ID to side: begun by the other end (left) or by us (right). */
  readonly #sides = new Map<string, 'left' | 'right'>();

  /** One line, without line end. */
  line(captured: Captured): string {
    const { label, callId } = describe(captured.bytes);
    const side = this.#sideOf(callId, captured.direction);
    const time = new Date(captured.timeMs).toISOString().slice(11, 23);
    const { transport, remote } = captured;
    const address = `${transport} ${remote.address}:${remote.port}`;
    // Towards the middle on the left means in; on the right it means out.
    const isRightwards = (captured.direction === 'in') === (side === 'left');
    const drawn = arrow(label, isRightwards);
    return side === 'left'
      ? `${time}  ${address.padStart(ADDRESS_WIDTH)} ${drawn} │`
      : `${time}  ${' '.repeat(ADDRESS_WIDTH)} ${' '.repeat(ARROW_WIDTH)} │ ${drawn} ${address}`;
  }

  #sideOf(callId: string, direction: Captured['direction']): 'left' | 'right' {
    const known = this.#sides.get(callId);
    if (known !== undefined) return known;
    const side = direction === 'in' ? 'left' : 'right';
    this.#sides.set(callId, side);
    if (this.#sides.size > MAX_CALLS) {
      const [oldest] = this.#sides.keys();
      if (oldest !== undefined) this.#sides.delete(oldest);
    }
    return side;
  }
}

/** `INVITE sip:bob@… (1)` or `180 Ringing (INVITE 1)`; whatever cannot be read is named so. */
function describe(bytes: Buffer): { readonly label: string; readonly callId: string } {
  try {
    const message = SipMessage.parse(bytes);
    const cseq = message.header('CSeq') ?? '?';
    const start = message.isRequest
      ? `${message.method} ${message.requestUri}`
      : `${message.statusCode} ${message.reasonPhrase} (${cseq.split(' ')[1] ?? ''})`;
    return { label: visible(start), callId: message.header('Call-ID') ?? '' };
  } catch {
    return { label: `malformed, ${bytes.length} bytes`, callId: '' };
  }
}

/** A peer's text must not move our cursor. */
function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, '.');
}

function arrow(label: string, isRightwards: boolean): string {
  const room = ARROW_WIDTH - 6;
  const shown = label.length > room ? `${label.slice(0, room - 1)}…` : label;
  const shaft = '─'.repeat(ARROW_WIDTH - 4 - shown.length);
  return isRightwards ? `─ ${shown} ${shaft}▶` : `◀${shaft} ${shown} ─`;
}
