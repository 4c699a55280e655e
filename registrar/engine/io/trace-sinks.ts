/** Where the trace goes: a terminal, a pcap file, a Homer server; any number of them at once. */
import dgram from 'node:dgram';
import type { WriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { ConfigError } from '../../../core/errors.ts';
import type { Endpoint } from '../seam.ts';
import type { Captured, TraceSink } from '../trace/captured.ts';
import { hepPacket } from '../trace/hep.ts';
import { Ladder } from '../trace/ladder.ts';
import { pcapFileHeader, pcapRecord } from '../trace/pcap.ts';

export type TraceOptions = {
  /** A ladder on standard error. */
  readonly ladder?: boolean | undefined;
  /** Made anew at every start, mode 0600. */
  readonly pcapFile?: string | undefined;
  readonly homer?: (Endpoint & { readonly agentId: number }) | undefined;
};

export type OpenTrace = { readonly sink: TraceSink; close(): Promise<void> };

/** A file that takes no more than this behind its writer loses records rather than our memory. */
const MAX_QUEUED_BYTES = 16 * 1024 * 1024;

/**
 * @returns undefined when nothing is asked for
 * @throws ConfigError `trace.unwritable` when the file cannot be made
 */
export async function openTrace(options: TraceOptions): Promise<OpenTrace | undefined> {
  const sinks: OpenTrace[] = [];
  if (options.ladder === true) sinks.push(ladderSink());
  if (options.pcapFile !== undefined) sinks.push(await pcapSink(options.pcapFile));
  if (options.homer !== undefined) sinks.push(homerSink(options.homer));
  if (sinks.length === 0) return undefined;
  return {
    sink: (captured) => {
      for (const { sink } of sinks) sink(captured);
    },
    close: async () => {
      await Promise.all(sinks.map((sink) => sink.close()));
    },
  };
}

function ladderSink(): OpenTrace {
  const ladder = new Ladder();
  return {
    sink: (captured) => {
      process.stderr.write(`${ladder.line(captured)}\n`);
    },
    close: () => Promise.resolve(),
  };
}

async function pcapSink(file: string): Promise<OpenTrace> {
  const stream = await openForWriting(file);
  let isBroken = false;
  stream.on('error', (error) => {
    isBroken = true;
    process.stderr.write(`the trace in ${file} ends here: ${error.message}\n`);
  });
  stream.write(pcapFileHeader());
  return {
    sink: (captured: Captured) => {
      if (isBroken || stream.writableLength > MAX_QUEUED_BYTES) return;
      stream.write(pcapRecord(captured));
    },
    close: () =>
      new Promise((resolve) => {
        if (isBroken) resolve();
        else stream.end(resolve);
      }),
  };
}

async function openForWriting(file: string): Promise<WriteStream> {
  try {
    return (await open(file, 'w', 0o600)).createWriteStream();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError('trace.unwritable', `cannot write the trace to ${file}: ${reason}`, {
      cause,
    });
  }
}

function homerSink(homer: Endpoint & { readonly agentId: number }): OpenTrace {
  const socket = dgram.createSocket(homer.address.includes(':') ? 'udp6' : 'udp4');
  socket.unref();
  socket.on('error', () => {
    // A trace that does not arrive must not disturb the calls.
  });
  return {
    sink: (captured) => {
      socket.send(hepPacket(captured, homer.agentId), homer.port, homer.address, ignore);
    },
    close: () =>
      new Promise((resolve) => {
        socket.close(resolve);
      }),
  };
}

function ignore(): void {
  // See the socket's error listener.
}
