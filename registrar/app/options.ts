/** OPTIONS (RFC 3261 section 11): to the switch, what it can do; to a user, what an INVITE would get. */
import type { SwitchContext } from './context.ts';
import { canonicalRoomName } from './names.ts';
import { ALLOW, ALLOW_EVENTS, SUPPORTED, type RequestRouter } from './requests.ts';
import type { SipHeaders } from './srf.ts';

const CAPABILITIES: SipHeaders = {
  Allow: ALLOW,
  Accept: 'application/sdp, text/plain',
  'Accept-Encoding': 'identity',
  'Accept-Language': 'en',
  Supported: SUPPORTED,
  'Allow-Events': ALLOW_EVENTS,
};

export function installOptions(
  { authenticator, domain }: Pick<SwitchContext, 'authenticator' | 'domain'>,
  requests: RequestRouter,
): void {
  requests.on('OPTIONS', async (request, response) => {
    const user = domain.rawUserOf(request.uri);
    if (user === undefined) {
      response.send(200, { headers: { ...CAPABILITIES } });
      return true;
    }
    // Strangers must not learn who exists.
    if ((await authenticator.authenticate(request, response)) === undefined) return true;
    const name = domain.userOf(request.uri) ?? canonicalRoomName(user);
    const status = name === undefined ? 404 : requests.availabilityOf(name);
    response.send(status, { headers: { ...CAPABILITIES } });
    return true;
  });
}
