/** A block after its shape: what goes on, while what is refused is kept. */
import type { ObjectShape } from '../filters/shape.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Block } from './block.ts'
import type { Log, ObjectRef } from './component.ts'
import { pickedRecords, reasonOf } from './kept-records.ts'

/** The block as it goes on. What its shape refuses is in quarantine when this returns, as one entry. */
export function shapedBlock(
  shape: ObjectShape,
  block: Block,
  o: {
    readonly object: ObjectRef
    readonly contentType: string
    readonly sample: Buffer
    readonly ledger: Ledger
    readonly log: Log
  },
): Block {
  const { block: shaped, refused } = shape.apply(block)
  if (refused.length === 0) return shaped
  const { object, contentType, sample: head, ledger, log } = o
  const reason = reasonOf(refused)
  const indexes = refused.map(({ index }) => index)
  ledger.reject({ ...pickedRecords(block, indexes), object, contentType, reason, head })
  log.error(
    { key: object.key, records: refused.length, reason },
    'records on which the filter errs: kept in quarantine',
  )
  return shaped
}
