/** Bindings as rows of the store. */
import type { Store, StoreValue } from '../store/store.ts';
import type { BindingsTable } from '../store/tables.ts';
import { transportOf } from '../transport.ts';
import type { Binding } from './location.ts';
import type { BindingChange } from './update-bindings.ts';

export type BindingRows = {
  /** Resolves when the changes are durable. */
  write(changes: readonly BindingChange[]): Promise<void>;
  /** Every binding that expires after `nowMs`; the others are deleted. */
  load(nowMs: number): Promise<readonly Binding[]>;
  loadOf(nickname: string): Promise<readonly Binding[]>;
};

const COLUMNS = [
  'nickname',
  'bindingKey',
  'contactUri',
  'contactParameters',
  'callId',
  'cseq',
  'q',
  'instanceId',
  'regId',
  'userAgent',
  'path',
  'sourceAddress',
  'sourcePort',
  'transport',
  'expiresAtMs',
  'updatedAtMs',
] as const satisfies readonly (keyof BindingsTable)[];

export function bindingRows(store: Store): BindingRows {
  const insert = store.prepare(
    `INSERT OR REPLACE INTO bindings (${COLUMNS.join(', ')})
     SELECT ${COLUMNS.map(() => '?').join(', ')} WHERE EXISTS (SELECT 1 FROM accounts WHERE nickname = ?)`,
  );
  const remove = store.prepare('DELETE FROM bindings WHERE nickname = ? AND bindingKey = ?');
  const apply = (change: BindingChange): void => {
    const { binding } = change;
    const key = keyOf(binding);
    if (change.kind === 'removed') {
      remove.run(binding.nickname, key);
      return;
    }
    if (change.kind === 'refreshed' && keyOf(change.previous) !== key) {
      remove.run(binding.nickname, keyOf(change.previous));
    }
    insert.run(...valuesOf(binding, key), binding.nickname);
  };
  return {
    write: (changes) =>
      store.enqueue(() => {
        for (const change of changes) apply(change);
      }),
    load: async (nowMs) => {
      await store.db.deleteFrom('bindings').where('expiresAtMs', '<=', nowMs).execute();
      return (await store.db.selectFrom('bindings').selectAll().execute()).map(bindingOfRow);
    },
    loadOf: async (nickname) => {
      const query = store.db.selectFrom('bindings').selectAll().where('nickname', '=', nickname);
      return (await query.execute()).map(bindingOfRow);
    },
  };
}

function keyOf(binding: Binding): string {
  return binding.regId === undefined
    ? binding.contactUri
    : `${binding.instanceId ?? ''};${binding.regId}`;
}

function valuesOf(binding: Binding, key: string): StoreValue[] {
  return [
    binding.nickname,
    key,
    binding.contactUri,
    binding.contactParameters,
    binding.callId,
    binding.cseq,
    binding.q,
    binding.instanceId ?? null,
    binding.regId ?? null,
    binding.userAgent ?? null,
    binding.path ?? null,
    binding.sourceAddress,
    binding.sourcePort,
    binding.transport,
    binding.expiresAtMs,
    binding.updatedAtMs,
  ];
}

function bindingOfRow(row: BindingsTable): Binding {
  return Object.freeze({
    nickname: row.nickname,
    contactUri: row.contactUri,
    contactParameters: row.contactParameters,
    callId: row.callId,
    cseq: row.cseq,
    q: row.q,
    instanceId: row.instanceId ?? undefined,
    regId: row.regId ?? undefined,
    userAgent: row.userAgent ?? undefined,
    path: row.path ?? undefined,
    sourceAddress: row.sourceAddress,
    sourcePort: row.sourcePort,
    transport: transportOf(row.transport),
    expiresAtMs: row.expiresAtMs,
    updatedAtMs: row.updatedAtMs,
  });
}
