/** What runs in the browser: stock sip.js over its own WebSocket transport; the test asks `phone` for everything. */

import { Messager, Registerer, UserAgent, type Message } from 'sip.js';

export type BrowserSettings = {
  /** `ws://` or `wss://` URL of the switch. */
  readonly server: string;
  readonly user: string;
  readonly password: string;
  readonly domain: string;
};

type Received = { readonly from: string; readonly contentType: string; readonly body: string };

class BrowserPhone {
  readonly received: Received[] = [];
  #agent: UserAgent | undefined;
  #registerer: Registerer | undefined;

  /** Resolves with the status of the final answer. */
  async register({ server, user, password, domain }: BrowserSettings): Promise<number> {
    const uri = UserAgent.makeURI(`sip:${user}@${domain}`);
    if (uri === undefined) throw new Error('no URI');
    this.#agent = new UserAgent({
      uri,
      authorizationUsername: user,
      authorizationPassword: password,
      transportOptions: { server },
      logLevel: 'error',
      delegate: {
        onMessage: (message) => {
          void this.#receive(message);
        },
      },
    });
    await this.#agent.start();
    this.#registerer = new Registerer(this.#agent);
    return this.#ask(this.#registerer);
  }

  /** Resolves with the status of the final answer. */
  async unregister(): Promise<number> {
    const registerer = this.#registerer;
    if (registerer === undefined) throw new Error('not registered');
    return new Promise((resolve, reject) => {
      registerer.unregister({ requestDelegate: statusTo(resolve) }).catch(reject);
    });
  }

  /** Resolves with the status of the final answer. */
  async send(target: string, text: string): Promise<number> {
    const agent = this.#agent;
    const uri = UserAgent.makeURI(target);
    if (agent === undefined || uri === undefined) throw new Error('not started');
    return new Promise((resolve, reject) => {
      const messager = new Messager(agent, uri, text, 'text/plain;charset=utf-8');
      messager.message({ requestDelegate: statusTo(resolve) }).catch(reject);
    });
  }

  async #ask(registerer: Registerer): Promise<number> {
    return new Promise((resolve, reject) => {
      registerer.register({ requestDelegate: statusTo(resolve) }).catch(reject);
    });
  }

  async #receive(message: Message): Promise<void> {
    const { from, body } = message.request;
    const contentType = message.request.getHeader('content-type') ?? '';
    this.received.push({ from: from.uri.toString(), contentType, body });
    await message.accept();
  }
}

type Answer = { readonly message: { readonly statusCode?: number | undefined } };

function statusTo(resolve: (status: number) => void): {
  onAccept: (answer: Answer) => void;
  onReject: (answer: Answer) => void;
} {
  const settle = ({ message }: Answer): void => {
    resolve(message.statusCode ?? 0);
  };
  return { onAccept: settle, onReject: settle };
}

Object.assign(globalThis, { phone: new BrowserPhone() });
