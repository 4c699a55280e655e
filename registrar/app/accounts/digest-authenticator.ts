/** Digest authentication of new requests: challenges, answers, and whether From (REGISTER: To) is the account's own. */
import { randomBytes } from 'node:crypto';
import { ProtocolError, RefusedError, ResourceError } from '../../../core/errors.ts';
import type { Log } from '../../../core/log.ts';
import { formatDigestChallenge } from '../../../core/sip/digest.ts';
import { NameAddr } from '../../../core/sip/name-addr.ts';
import type { Clock } from '../clock.ts';
import type { Domain } from '../domain.ts';
import type { Location } from '../location/location.ts';
import type { SipRequest, SipResponse } from '../srf.ts';
import { answerFailure } from '../answer.ts';
import type { Account, AccountSecrets } from './accounts.ts';
import type { Authenticator } from './authenticator.ts';
import { ChallengeChoice, type Challenged } from './challenge-choice.ts';
import {
  isRightResponse,
  credentialsFor,
  type Credentials,
  type OfferedAlgorithm,
} from './credentials.ts';
import { Nonces } from './nonces.ts';
import { Penalties } from './penalties.ts';

export type DigestAuthenticatorOptions = {
  readonly accounts: AccountSecrets;
  readonly domain: Domain;
  readonly location: Pick<Location, 'bindingsOf'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly algorithms: readonly OfferedAlgorithm[];
  readonly nonceLifetimeSeconds: number;
  /** Wrong answers for one account that cost nothing; one address has several people behind it and gets more. */
  readonly freeFailures: number;
};

const FREE_FAILURES_PER_ADDRESS_FACTOR = 4;

type Secret = ReturnType<AccountSecrets['secretOf']> & object;
type Claim = { readonly request: SipRequest; readonly client: Challenged };

export class DigestAuthenticator implements Authenticator {
  readonly #options: DigestAuthenticatorOptions;
  readonly #nonces: Nonces;
  readonly #choice: ChallengeChoice;
  readonly #addressPenalties: Penalties;
  readonly #accountPenalties: Penalties;
  /** Compared with when there is no such account. */
  readonly #dummyHa1 = randomBytes(32).toString('hex');
  readonly #answers = new WeakMap<SipRequest, Promise<Account | undefined>>();

  constructor(options: DigestAuthenticatorOptions) {
    this.#options = options;
    this.#nonces = new Nonces({
      secret: randomBytes(32),
      lifetimeMs: options.nonceLifetimeSeconds * 1000,
    });
    this.#choice = new ChallengeChoice(options.algorithms);
    this.#accountPenalties = new Penalties({ free: options.freeFailures });
    this.#addressPenalties = new Penalties({
      free: options.freeFailures * FREE_FAILURES_PER_ADDRESS_FACTOR,
    });
  }

  authenticate(request: SipRequest, response: SipResponse): Promise<Account | undefined> {
    let answer = this.#answers.get(request);
    if (answer === undefined) {
      answer = this.#authenticate(request, response);
      this.#answers.set(request, answer);
    }
    return answer;
  }

  async #authenticate(request: SipRequest, response: SipResponse): Promise<Account | undefined> {
    try {
      const refreshing = this.#options.accounts.refresh(false);
      if (refreshing !== undefined) await refreshing;
      const nickname = this.#claimedUser(request);
      const client = clientOf(request, nickname);
      const credentials = this.#credentialsOf(request);
      if (credentials === undefined) {
        this.#challenge(response, client, false);
        return undefined;
      }
      const account = await this.#check({ request, client }, credentials, response);
      if (account !== undefined && account.nickname !== nickname) {
        throw new RefusedError('digest.notOwner', 'Not your address', 403);
      }
      return account;
    } catch (error) {
      answerFailure(response, error, this.#options.log);
      return undefined;
    }
  }

  /** @returns `undefined` when it has sent a challenge */
  async #check(
    { request, client }: Claim,
    credentials: Credentials,
    response: SipResponse,
  ): Promise<Account | undefined> {
    const { clock } = this.#options;
    let secret = this.#secretOf(credentials);
    const accountKey = credentials.username.toLowerCase();
    this.#choice.answered(client);
    this.#refuseWhilePaused(client.address, accountKey, secret?.account);
    let isRight = this.#isRight(credentials, request.method, secret);
    if (!isRight) {
      // The account may be new, or its password, since some milliseconds ago.
      await this.#options.accounts.refresh();
      secret = this.#secretOf(credentials);
      isRight = this.#isRight(credentials, request.method, secret);
    }
    if (!isRight || secret === undefined) {
      const nowMs = clock.nowMs();
      this.#addressPenalties.fail(client.address, nowMs);
      this.#accountPenalties.fail(accountKey, nowMs);
      this.#options.log.warn('registrar.digest.wrong', () => ({
        user: credentials.username,
        address: client.address,
        method: request.method,
      }));
      this.#challenge(response, client, false);
      return undefined;
    }
    const nonce = this.#nonces.use(credentials.nonce, credentials.nonceCount ?? 1, clock.wallMs());
    if (nonce !== 'fresh') {
      this.#challenge(response, client, true);
      return undefined;
    }
    this.#accountPenalties.forgive(accountKey);
    return secret.account;
  }

  #secretOf({ username, algorithm }: Credentials): Secret | undefined {
    return this.#options.accounts.secretOf(username, algorithm);
  }

  /** Takes as long when there is no such account. */
  #isRight(credentials: Credentials, method: string, secret: Secret | undefined): boolean {
    const isRight = isRightResponse(credentials, method, secret?.ha1 ?? this.#dummyHa1);
    const isOffered = this.#options.algorithms.includes(credentials.algorithm);
    return isRight && isOffered && secret !== undefined;
  }

  /** Somebody else's guessing must not lock out a device that is registered already. */
  #refuseWhilePaused(address: string, accountKey: string, account: Account | undefined): void {
    const nowMs = this.#options.clock.nowMs();
    const isHome =
      account !== undefined &&
      this.#options.location
        .bindingsOf(account.nickname)
        .some(({ sourceAddress }) => sourceAddress === address);
    const pauseMs = isHome
      ? 0
      : Math.max(
          this.#addressPenalties.pauseMs(address, nowMs),
          this.#accountPenalties.pauseMs(accountKey, nowMs),
        );
    if (pauseMs === 0) return;
    const seconds = Math.ceil(pauseMs / 1000);
    throw new ResourceError('digest.paused', 'Too many wrong passwords, try again later', seconds);
  }

  #challenge(response: SipResponse, client: Challenged, isStale: boolean): void {
    const { domain, clock } = this.#options;
    const nonce = this.#nonces.issue(clock.wallMs());
    const challenges = this.#choice.offer(client, clock.nowMs()).map((algorithm) =>
      formatDigestChallenge({
        realm: domain.name,
        nonce,
        algorithm,
        isStale,
        qop: ['auth'],
        opaque: undefined,
      }),
    );
    // One header line each: joined by a comma, as drachtio-srf would, several phones cannot read them.
    const headers = { 'WWW-Authenticate': challenges.join('\r\nWWW-Authenticate: ') };
    response.send(401, { headers });
  }

  /** The user that the request says it comes from: To in REGISTER (RFC 3261 section 10.2), else From. */
  #claimedUser(request: SipRequest): string | undefined {
    const name = request.method === 'REGISTER' ? 'to' : 'from';
    const value = request.get(name);
    if (value === undefined)
      throw new ProtocolError('sip.header.missing', `No ${name} header`, 400);
    return this.#options.domain.userOf(NameAddr.parse(value).uriText);
  }

  #credentialsOf(request: SipRequest): Credentials | undefined {
    const header = request.get('authorization') ?? request.get('proxy-authorization');
    return header === undefined ? undefined : credentialsFor(header, this.#options.domain.name);
  }
}

function clientOf(request: SipRequest, nickname: string | undefined): Challenged {
  return {
    address: request.source_address,
    nickname,
    userAgent: request.get('user-agent'),
    branch: /;\s*branch\s*=\s*([^\s;,]+)/i.exec(request.get('via') ?? '')?.[1],
  };
}
