/** The logging interface; whoever starts a part supplies the writer. Costs nothing when a level is off. */

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Fields of one log line; the thunk runs only when the level is on. */
export type LogFields = () => Readonly<Record<string, unknown>>;

/** One method per level. `event` is a dotted past-tense name such as `registrar.binding.added`. */
export type Log = Readonly<Record<LogLevel, (event: string, fields?: LogFields) => void>>;

/** Writes nothing. */
export const nullLog: Log = { error: ignore, warn: ignore, info: ignore, debug: ignore };

function ignore(): void {
  // Nothing to write to.
}
