/** How the terminal shows things: sentences, lists and colours for 80 columns. */

import type {
  CallEnd,
  CallInfo,
  CallQuality,
  ConnectionState,
  Participant,
  PhoneText,
  RegistrationState,
  TextRecord,
} from '../../phone.ts';

/** Puts text in a colour, or leaves it as it is where there are none. */
export type Paint = (colour: Colour, text: string) => string;

const COLOURS = {
  dim: 2,
  bold: 1,
  red: 31,
  green: 32,
  yellow: 33,
  blue: 34,
  cyan: 36,
} as const;
export type Colour = keyof typeof COLOURS;

export function painter(hasColours: boolean): Paint {
  return (colour, text) => (hasColours ? `\u001B[${COLOURS[colour]}m${text}\u001B[0m` : text);
}

/** What a stranger wrote, without anything that could move the cursor or change the terminal. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}]/gu, (sign) => {
    if (sign === '\t' || sign === '\n') return ' ';
    // Joiners belong to emoji and to some scripts.
    return sign === '\u200D' || sign === '\u200C' ? sign : '';
  });
}

/** `14:03` */
export function clockTime(atMs: number): string {
  const date = new Date(atMs);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** Like `clockTime`, with the day before it when that is not today. */
function momentOf(atMs: number, nowMs: number): string {
  const date = new Date(atMs);
  const isToday = new Date(nowMs).toDateString() === date.toDateString();
  if (isToday) return clockTime(atMs);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clockTime(atMs)}`;
}

/** `3:07` or `1:02:33` */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const two = (value: number): string => String(value).padStart(2, '0');
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  const rest = two(seconds % 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}

/** `Bob Ross (bob)`, or `bob` when that is all there is. */
export function person(name: string, nickname: string): string {
  const shown = printable(name);
  const known = printable(nickname);
  return shown === '' || shown === known ? known : `${shown} (${known})`;
}

export function connectionLine(state: ConnectionState): string | undefined {
  switch (state.kind) {
    case 'disconnected': {
      const seconds = Math.max(1, Math.round(state.retryMs / 1000));
      return `${sentence(printable(state.reason))} Trying again in ${seconds} s.`;
    }
    case 'connecting':
    case 'connected':
    case 'closed':
      return undefined;
  }
}

export function registrationLine(state: RegistrationState, nickname: string): string | undefined {
  switch (state.kind) {
    case 'registered':
      return `You are ${nickname}; others can reach you.`;
    case 'refused':
      if (state.statusCode === 401 || state.statusCode === 407 || state.statusCode === 403) {
        return `The server refuses ${nickname}: the name or the password is wrong.`;
      }
      return `The server refuses ${nickname}: ${printable(state.reason)} (${state.statusCode}).`;
    case 'waiting': {
      const seconds = Math.max(1, Math.round(state.retryMs / 1000));
      return `Not registered: ${printable(state.reason)}. Trying again in ${seconds} s.`;
    }
    case 'unregistered':
    case 'registering':
      return undefined;
  }
}

export function endLine(call: CallInfo, end: CallEnd, nowMs: number): string {
  const who = person(call.remote.name, call.remote.nickname);
  const { establishedAtMs } = call;
  const after = establishedAtMs === undefined ? '' : ` after ${duration(nowMs - establishedAtMs)}`;
  if (end.byUs && establishedAtMs === undefined) {
    return call.direction === 'incoming'
      ? `You have refused ${who}.`
      : `You have stopped calling ${who}.`;
  }
  if (end.byUs) return `The call with ${who} has ended${after}.`;
  if (establishedAtMs !== undefined) {
    return `The call with ${who} has ended${after}: ${printable(end.text)}.`;
  }
  const missed = call.direction === 'incoming' && end.kind === 'cancelled';
  return missed ? `You missed a call from ${who}.` : `${who}: ${printable(end.text)}.`;
}

/** One line of the list of calls. */
export function callLine(call: CallInfo, nowMs: number): string {
  const who =
    call.room === undefined ? person(call.remote.name, call.remote.nickname) : `room #${call.room}`;
  const states: string[] = [];
  if (call.phase !== 'established') states.push(call.phase);
  else states.push(duration(nowMs - (call.establishedAtMs ?? nowMs)));
  if (call.isActive) states.push('has the sound');
  if (call.isHeld) states.push('on hold');
  if (call.isHeldByPeer) states.push('holds you');
  if (call.isMuted) states.push('muted');
  if (call.codec !== undefined) states.push(call.codec);
  return `  ${call.id.padEnd(4)} ${who.padEnd(28)} ${states.join(', ')}`;
}

export function participantLine({ name, nickname, status, isMuted }: Participant): string {
  const states = [status === 'connected' ? '' : printable(status), isMuted ? 'muted' : ''];
  const shown = states.filter((state) => state !== '').join(', ');
  return `  ${person(name, nickname)}${shown === '' ? '' : `  (${shown})`}`;
}

export function qualityLines(quality: CallQuality): string[] {
  const number = (value: number | undefined, unit: string, digits = 0): string =>
    value === undefined ? 'not told' : `${value.toFixed(digits)} ${unit}`;
  return [
    `  You hear      ${quality.receivingCodec ?? 'nothing yet'}, loss ${number(quality.lossPercent, '%', 1)}, jitter ${number(quality.jitterMs, 'ms')}, delay ${number(quality.playoutDelayMs, 'ms')}`,
    `  They hear     ${quality.sendingCodec ?? 'nothing yet'}, loss ${number(quality.remoteLossPercent, '%', 1)}, jitter ${number(quality.remoteJitterMs, 'ms')}`,
    `  Round trip    ${number(quality.roundTripMs, 'ms')}, mark ${quality.mos.toFixed(1)} of 4.5`,
  ];
}

export function textLine(text: PhoneText, paint: Paint): string {
  const where = text.room === undefined ? '' : `${paint('cyan', `#${printable(text.room)}`)} `;
  const who = paint('bold', printable(text.name));
  return `${paint('dim', clockTime(text.atMs))} ${where}${who}: ${printable(text.text)}`;
}

export function recordLine(record: TextRecord, nowMs: number, paint: Paint): string {
  const arrow = record.direction === 'sent' ? '→' : '←';
  const moment = paint('dim', momentOf(record.atMs, nowMs));
  const peer = paint('cyan', printable(record.peer));
  return `${moment} ${peer} ${arrow} ${paint('bold', printable(record.name))}: ${printable(record.text)}`;
}

function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
