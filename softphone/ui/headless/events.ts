/** What the phone tells, as JSON objects of one line each; docs/softphone.md describes them. */

import type { CallInfo, Participant, Phone } from '../../phone.ts';

export type HeadlessEvent = Readonly<Record<string, unknown>> & { readonly event: string };

/** Tells everything from now on. @returns what ends it */
export function watchPhone(phone: Phone, tell: (event: HeadlessEvent) => void): () => void {
  const phases = new Map<string, string>();
  const listeners = [
    phone.on('connection', (state) => {
      const { kind, ...more } = state;
      tell({ event: kind, ...more });
    }),
    phone.on('registration', (state) => {
      if (state.kind === 'registering') return;
      const { kind, ...more } = state;
      if (kind === 'refused' || kind === 'waiting') {
        tell({ event: 'registrationFailed', isFinal: kind === 'refused', ...more });
      } else {
        tell({ event: kind, ...more });
      }
    }),
    phone.on('incoming', (call) => {
      phases.set(call.id, call.phase);
      tell({ event: 'incoming', call });
    }),
    phone.on('call', (call: CallInfo) => {
      const event = phases.get(call.id) === call.phase ? 'changed' : call.phase;
      phases.set(call.id, call.phase);
      tell({ event, call });
    }),
    phone.on('ended', (call, end) => {
      phases.delete(call.id);
      tell({ event: 'ended', call, end });
    }),
    phone.on('digit', (call, digit) => {
      tell({ event: 'digit', call: call.id, digit });
    }),
    phone.on('text', (text) => {
      tell({ event: 'text', ...text });
    }),
    phone.on('joined', (room) => {
      tell({ event: 'joined', room });
    }),
    phone.on('left', (room, end) => {
      tell({ event: 'left', room, end });
    }),
    phone.on('roster', (room, { joined, left, changed }, participants) => {
      tell({
        event: 'roster',
        room,
        joined: joined.map(nicknameOf),
        left: left.map(nicknameOf),
        changed: changed.map(nicknameOf),
        participants,
      });
    }),
    phone.on('notice', (text) => {
      tell({ event: 'notice', text });
    }),
  ];
  return () => {
    for (const remove of listeners) remove();
  };
}

function nicknameOf({ nickname }: Participant): string {
  return nickname;
}
