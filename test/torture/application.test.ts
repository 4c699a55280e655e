import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { SipMessage } from '../../core/sip/message.ts';
import { OutgoingMessage } from '../../core/sip/outgoing-message.ts';
import { LiveSwitch } from '../support/live-switch.ts';
import { SipPeer } from '../support/sip-peer.ts';
import { RFC4475, RFC5118, type Row } from './rows.ts';

const FOLDERS = [
  ['rfc4475', 'RFC 4475', RFC4475],
  ['rfc5118', 'RFC 5118', RFC5118],
] as const;
const PASSWORD = 'torture me';
const USERS = ['user', 'watson', 'caller', 'j.user', 'userb'];
/** Long after the last answer of the switch to what it answers at once. */
const SILENCE_MS = 300;

function read(folder: string, file: string): Buffer {
  return readFileSync(path.join(import.meta.dirname, folder, `${file}.dat`));
}

/**
 * The same message with a branch and Call-ID of its own: many have the same ones, and would be retransmissions or
 * merged copies of each other. A branch that is no more than the magic cookie stays.
 */
function madeUnique(bytes: Buffer, name: string): Buffer {
  const text = bytes
    .toString('latin1')
    .replace(/branch=z9hG4bK(?=[\w-])/, `branch=z9hG4bK${name}-`)
    .replace(/^((?:call-id|i)[ \t]*:[ \t]*)/im, `$1${name}-`);
  return Buffer.from(text, 'latin1');
}

describe('torture messages sent to the whole switch', () => {
  const live = new LiveSwitch();

  before(async () => {
    // So one address of RFC 5118 is ours, and what only looks like it is not.
    await live.start({ 'sip.domain': 'example.com', 'sip.domainAliases': '2001:db8::10' });
    await live.addAccounts(USERS.map((user) => ({ user, password: PASSWORD })));
  });

  afterEach(async () => {
    for (const user of USERS) live.forgetBindings(user);
    await live.nothingLeft();
  });

  after(async () => {
    await live.stop();
  });

  /** Everything that comes back for a datagram from a stranger. */
  async function answersTo(bytes: Buffer): Promise<SipMessage[]> {
    const socket = dgram.createSocket('udp4');
    socket.bind(0, live.server.address);
    await once(socket, 'listening');
    const answers: SipMessage[] = [];
    const answered = new Promise<void>((resolve) => {
      socket.on('message', (answer) => {
        answers.push(SipMessage.parse(answer));
        if ((answers.at(-1)?.statusCode ?? 0) >= 200) resolve();
      });
    });
    socket.send(bytes, live.server.port, live.server.address);
    await Promise.race([answered, new Promise((resolve) => setTimeout(resolve, SILENCE_MS))]);
    socket.close();
    return answers;
  }

  for (const [folder, title, rows] of FOLDERS) {
    describe(title, () => {
      for (const { file, section, stranger } of rows) {
        it(`§${section} ${file}: ${stranger ?? 'silence'}`, async () => {
          const answers = await answersTo(madeUnique(read(folder, file), file));
          const final = answers.filter(({ statusCode }) => statusCode >= 200);
          assert.deepEqual(
            final.map(({ statusCode }) => statusCode),
            stranger === undefined ? [] : [stranger],
            final[0]?.reasonPhrase,
          );
          if (stranger === undefined) assert.deepEqual(answers, []);
        });
      }
    });
  }

  describe('from somebody who has logged in', () => {
    for (const [folder, title, rows] of FOLDERS) {
      for (const { file, section, known } of rows) {
        if (known === undefined) continue;
        it(`${title} §${section} ${file}: ${known}`, async () => {
          const response = await sendAsUser(madeUnique(read(folder, file), 'known'));
          assert.equal(response.statusCode, known, response.reasonPhrase);
          checkDetails(file, response);
        });
      }
    }

    /** Sends the message as the account that its From names, in our domain, and answers the challenge. */
    async function sendAsUser(bytes: Buffer): Promise<SipMessage> {
      const request = OutgoingMessage.from(SipMessage.parse(bytes));
      const from = (request.header('From') ?? '').replace('@example.net', '@example.com');
      const user = /sip:([^@]+)@example\.com/.exec(from)?.[1] ?? 'user';
      const peer = await SipPeer.open({ server: live.server, user, password: PASSWORD });
      try {
        request.set('From', from).set('Via', peer.newVia());
        return await (await peer.sendRequest(request)).final();
      } finally {
        await peer.close();
      }
    }

    /** What the answer has to say besides its status. */
    function checkDetails(file: Row['file'], response: SipMessage): void {
      switch (file) {
        case 'bext01':
          assert.deepEqual(
            response.headerValues('Unsupported').map((tag) => tag.toLowerCase()),
            ['nothingsupportsthis', 'nothingsupportsthiseither'],
          );
          break;
        case 'invut':
          assert(response.headerValues('Accept').includes('application/sdp'));
          break;
        case 'cparam01':
        case 'cparam02':
        case 'regescrt':
        case 'ipv6-good':
        case 'port-unambiguous':
          assert.equal(response.contacts.length > 0, true);
          break;
        default:
      }
    }
  });
});
