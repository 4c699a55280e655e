/** The certificates of a TLS server: one for those who ask for nothing that we know, others by server name (RFC 6066 §3). */
import { X509Certificate } from 'node:crypto';
import tls from 'node:tls';

/** Certificate chain and private key, both in PEM. */
type KeyPair = { readonly cert: string; readonly key: string };

export type TlsIdentity = KeyPair & {
  /** For clients that ask for a name which one of these has; the pair above may have it as well, and goes first. */
  readonly others?: readonly KeyPair[] | undefined;
};

type Choice = { readonly certificate: X509Certificate; readonly context: tls.SecureContext };
type AnswerName = (error: Error | null, context?: tls.SecureContext) => void;

const MIN_VERSION = 'TLSv1.2';

export class ServerCertificates {
  readonly #servers: tls.Server[] = [];
  #identity: TlsIdentity;
  #choices: readonly Choice[];

  constructor(identity: TlsIdentity) {
    this.#identity = identity;
    this.#choices = choicesOf(identity);
  }

  /** For a server that is then told to `serve`. */
  get options(): tls.TlsOptions {
    const { cert, key } = this.#identity;
    return { cert, key, minVersion: MIN_VERSION, SNICallback: this.#answerName };
  }

  /** That server takes part in exchanges. */
  serve(server: tls.Server): void {
    this.#servers.push(server);
  }

  /** For new handshakes; connections that are up keep what they have. */
  exchange(identity: TlsIdentity): void {
    const choices = choicesOf(identity);
    const { cert, key } = identity;
    for (const server of this.#servers) {
      server.setSecureContext({ cert, key, minVersion: MIN_VERSION });
    }
    this.#identity = identity;
    this.#choices = choices;
  }

  readonly #answerName = (name: string, answer: AnswerName): void => {
    // Without a context the server takes its own.
    answer(null, this.#contextFor(name));
  };

  /** One that has this very name, else one that has it by a wildcard. */
  #contextFor(name: string): tls.SecureContext | undefined {
    for (const wildcards of [false, true]) {
      const choice = this.#choices.find(({ certificate }) => covers(certificate, name, wildcards));
      if (choice !== undefined) return choice.context;
    }
    return undefined;
  }
}

/** None when there is nothing to choose from. */
function choicesOf({ others = [], ...first }: TlsIdentity): readonly Choice[] {
  if (others.length === 0) return [];
  return [first, ...others].map(({ cert, key }) => ({
    certificate: new X509Certificate(cert),
    context: tls.createSecureContext({ cert, key, minVersion: MIN_VERSION }),
  }));
}

/** A wildcard is the whole leftmost label, and stands for one. */
function covers(certificate: X509Certificate, name: string, wildcards: boolean): boolean {
  try {
    const match = certificate.checkHost(name, { wildcards, partialWildcards: false });
    return match !== undefined;
  } catch {
    // Whatever a stranger puts there need not be a name.
    return false;
  }
}
