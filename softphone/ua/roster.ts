/** Who is in a room: the conference event package (RFC 4575), full documents first and partial ones merged into them. */

import { ParseError } from '../../core/errors.ts';
import { parseXml } from '../../core/xml.ts';
import type { XmlElement } from '../../core/xml.ts';
import { readableUser } from './address.ts';

/** One person in a room; several devices of one person are one entry. */
export type Participant = {
  /** The URI that names them in the room; unique. */
  readonly entity: string;
  /** The user part of that URI, readable. */
  readonly nickname: string;
  /** What to show: their display text, or else the nickname. */
  readonly name: string;
  /** RFC 4575 §5.7.2 of their first device, for example `connected` or `on-hold`. */
  readonly status: string;
  /** Whether the room takes no sound from them. */
  readonly isMuted: boolean;
};

/** What changed by one document. */
export type RosterChange = {
  readonly joined: readonly Participant[];
  readonly left: readonly Participant[];
  readonly changed: readonly Participant[];
};

/** `gap`: documents were missed, subscribe again. `old`: seen already. `ended`: the room itself is gone. */
export type RosterResult =
  | { readonly kind: 'changed'; readonly change: RosterChange }
  | { readonly kind: 'gap' | 'old' | 'ended' };

/** People in one room; more are not kept, whatever a server says. */
const MAXIMUM_PARTICIPANTS = 20_000;

type Draft = { name: string; status: string; isMuted: boolean };

export class Roster {
  #participants = new Map<string, Participant>();
  #version: number | undefined;

  /** In the order in which they came. */
  get participants(): readonly Participant[] {
    return [...this.#participants.values()];
  }

  /** Forgets what was known, for example before a new subscription. Nobody counts as gone by that. */
  expectFullState(): void {
    this.#version = undefined;
  }

  /**
   * Takes one `application/conference-info+xml` document (RFC 4575 §4.4, §5).
   *
   * @throws ParseError `xml.*`, `roster.malformed`
   */
  apply(document: string): RosterResult {
    const root = parseXml(document);
    if (root.name !== 'conference-info') {
      throw new ParseError('roster.malformed', `root element ${root.name.slice(0, 40)}`);
    }
    const state = stateOf(root);
    const version = Number(root.attributes.get('version') ?? '0');
    if (!Number.isSafeInteger(version) || version < 0) {
      throw new ParseError('roster.malformed', 'version is not a number');
    }
    if (state !== 'full') {
      if (this.#version === undefined || version > this.#version + 1) return { kind: 'gap' };
    }
    if (this.#version !== undefined && version <= this.#version) return { kind: 'old' };
    this.#version = version;
    if (state === 'deleted') return { kind: 'ended' };
    return { kind: 'changed', change: this.#merge(root, state === 'full') };
  }

  #merge(root: XmlElement, isFull: boolean): RosterChange {
    const users = childNamed(root, 'users');
    const before = this.#participants;
    const replaces = isFull || (users !== undefined && stateOf(users) === 'full');
    const after = new Map(replaces ? [] : before);
    for (const user of users?.children ?? []) {
      const entity = user.name === 'user' ? (user.attributes.get('entity') ?? '') : '';
      if (entity === '') continue;
      mergeUser(after, user, entity);
    }
    this.#participants = after;
    return differenceBetween(before, after);
  }
}

/** RFC 4575 §5.1: an element without `state` is full. */
function stateOf(element: XmlElement): 'full' | 'partial' | 'deleted' {
  const state = element.attributes.get('state');
  return state === 'partial' || state === 'deleted' ? state : 'full';
}

function childNamed(element: XmlElement, name: string): XmlElement | undefined {
  return element.children.find((child) => child.name === name);
}

function mergeUser(users: Map<string, Participant>, user: XmlElement, entity: string): void {
  const state = stateOf(user);
  if (state === 'deleted') {
    users.delete(entity);
  } else if (users.has(entity) || users.size < MAXIMUM_PARTICIPANTS) {
    const known = state === 'partial' ? users.get(entity) : undefined;
    users.set(entity, participantFrom(user, entity, known));
  }
}

function participantFrom(
  user: XmlElement,
  entity: string,
  known: Participant | undefined,
): Participant {
  const nickname = readableUser(entity);
  const draft: Draft = {
    name: known?.name ?? nickname,
    status: known?.status ?? 'connected',
    isMuted: known?.isMuted ?? false,
  };
  const displayText = childNamed(user, 'display-text')?.text;
  if (displayText !== undefined && displayText !== '') draft.name = displayText;
  const endpoint = user.children.find(
    (child) => child.name === 'endpoint' && stateOf(child) !== 'deleted',
  );
  if (endpoint !== undefined) readEndpoint(endpoint, draft);
  return { entity, nickname, ...draft };
}

function readEndpoint(endpoint: XmlElement, draft: Draft): void {
  const status = childNamed(endpoint, 'status')?.text;
  if (status !== undefined && status !== '') draft.status = status;
  for (const media of endpoint.children) {
    const type = childNamed(media, 'type')?.text ?? 'audio';
    const direction = childNamed(media, 'status')?.text;
    // The direction is the participant's own (RFC 4575 §5.8.5): who only receives is muted.
    if (media.name === 'media' && type === 'audio' && direction !== undefined) {
      draft.isMuted = direction === 'recvonly';
    }
  }
}

function differenceBetween(
  before: ReadonlyMap<string, Participant>,
  after: ReadonlyMap<string, Participant>,
): RosterChange {
  const joined: Participant[] = [];
  const changed: Participant[] = [];
  for (const [entity, participant] of after) {
    const known = before.get(entity);
    if (known === undefined) joined.push(participant);
    else if (
      known.name !== participant.name ||
      known.status !== participant.status ||
      known.isMuted !== participant.isMuted
    ) {
      changed.push(participant);
    }
  }
  const left = [...before.values()].filter(({ entity }) => !after.has(entity));
  return { joined, left, changed };
}
