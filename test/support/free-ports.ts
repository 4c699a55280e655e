/** Blocks of ports for programs that cannot choose their own. */

import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { once } from 'node:events';

/**
 * Below the system's own choice (32768 and up) and below the relay's default range, so that no program is given a port
 * between the look and its use.
 */
const LOWEST = 10_000;
const HIGHEST = 16_300;

let next = LOWEST + 2 * Math.floor(Math.random() * ((HIGHEST - LOWEST) / 2));

async function isUdpFree(port: number): Promise<boolean> {
  const socket = createSocket('udp4');
  try {
    socket.bind(port, '0.0.0.0');
    await once(socket, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    await new Promise<void>((resolve) =>
      socket.close(() => {
        resolve();
      }),
    );
  }
}

async function isTcpFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '0.0.0.0');
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    await new Promise<void>((resolve) =>
      server.close(() => {
        resolve();
      }),
    );
  }
}

/** The first of `count` neighbouring ports, even, that are free for UDP and TCP and were not given out before. */
export async function freePorts(count: number): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (next + count > HIGHEST) next = LOWEST;
    const first = next;
    next += count + (count % 2);
    const ports = Array.from({ length: count }, (_, index) => first + index);
    const isFree = await Promise.all(
      ports.map(async (port) => (await isUdpFree(port)) && (await isTcpFree(port))),
    );
    if (isFree.every(Boolean)) return first;
  }
  throw new Error(`no ${count} free ports in a row from ${LOWEST} to ${HIGHEST}`);
}
