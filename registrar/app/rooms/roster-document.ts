/** The roster of a room as RFC 4575 writes it: whole, or only what changed. */
import { serializeXml, type XmlSource } from '../../../core/xml.ts';

export const CONFERENCE_INFO = 'application/conference-info+xml';

/** One device in the room. */
export type RosterEndpoint = {
  /** Unique in the room as long as it is there; tells nothing about where the device is. */
  readonly id: string;
  readonly direction: 'sendrecv' | 'sendonly' | 'recvonly' | 'inactive';
};

/** One person, with one or more devices. */
export type RosterUser = {
  readonly nickname: string;
  readonly displayName: string;
  readonly endpoints: readonly RosterEndpoint[];
};

export type Roster = {
  readonly title: string;
  readonly users: readonly RosterUser[];
};

/** What differs from one subscriber to the next: how they write our domain, and where their numbering is. */
export type RosterView = {
  /** The conference URI as this subscriber asked for it, without port and parameters. */
  readonly entity: string;
  /** The AOR of a nickname as this subscriber writes AORs. */
  readonly uriOf: (nickname: string) => string;
  /** Rises by one with every document of a subscription, from 1 (RFC 4575 section 5.2). */
  readonly version: number;
};

/** Everything: the first document of a subscription, and after each refresh. */
export function fullRoster(roster: Roster, view: RosterView): string {
  const users = roster.users.map((user) => userElement(user, view));
  return documentOf(view, 'full', [
    { name: 'conference-description', children: [{ name: 'display-text', text: roster.title }] },
    stateElement(roster),
    { name: 'users', attributes: { state: 'full' }, children: users },
  ]);
}

/**
 * Only those who came, changed or left.
 *
 * @param changed - nicknames; those not in `roster` any more are told as deleted
 */
export function partialRoster(
  roster: Roster,
  changed: ReadonlySet<string>,
  view: RosterView,
): string {
  const present = new Map(roster.users.map((user) => [user.nickname, user]));
  const users = [...changed].map((nickname): XmlSource => {
    const user = present.get(nickname);
    if (user !== undefined) return userElement(user, view);
    return { name: 'user', attributes: { entity: view.uriOf(nickname), state: 'deleted' } };
  });
  return documentOf(view, 'partial', [
    stateElement(roster),
    { name: 'users', attributes: { state: 'partial' }, children: users },
  ]);
}

function documentOf(view: RosterView, state: string, children: readonly XmlSource[]): string {
  return serializeXml({
    name: 'conference-info',
    attributes: {
      xmlns: 'urn:ietf:params:xml:ns:conference-info',
      entity: view.entity,
      state,
      version: String(view.version),
    },
    children,
  });
}

function stateElement({ users }: Roster): XmlSource {
  return {
    name: 'conference-state',
    children: [
      { name: 'user-count', text: String(users.length) },
      { name: 'active', text: 'true' },
    ],
  };
}

function userElement(user: RosterUser, view: RosterView): XmlSource {
  const uri = view.uriOf(user.nickname);
  return {
    name: 'user',
    attributes: { entity: uri, state: 'full' },
    children: [
      { name: 'display-text', text: user.displayName },
      ...user.endpoints.map(({ id, direction }): XmlSource => ({
        name: 'endpoint',
        attributes: { entity: `${uri};endpoint=${id}`, state: 'full' },
        children: [
          { name: 'status', text: direction === 'inactive' ? 'on-hold' : 'connected' },
          { name: 'joining-method', text: 'dialed-in' },
          {
            name: 'media',
            attributes: { id: '1' },
            children: [
              { name: 'type', text: 'audio' },
              { name: 'status', text: direction },
            ],
          },
        ],
      })),
    ],
  };
}
