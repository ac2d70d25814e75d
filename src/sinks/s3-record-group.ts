/** Cuts a batch into the objects that its records become. */
import { createHash } from 'node:crypto'
import { recordNumber } from '../core/block.ts'
import type { Batch, Origin, Part } from '../core/component.ts'

/** Records of a batch that go into one object, in order. */
export interface RecordGroup {
  /** Of the first record. */
  readonly origin: Origin
  readonly parts: readonly Part[]
  /** Index in the batch of the first record of each part. */
  readonly starts: readonly number[]
  readonly count: number
}

/** Groups in the order of their first records; records whose origins have the same `groupOf` are together. */
export function groupRecords({ parts }: Batch, groupOf: (origin: Origin) => string): RecordGroup[] {
  const groups = new Map<string, { origin: Origin; parts: Part[]; starts: number[]; count: number }>()
  let origin: Origin | undefined
  let name = ''
  let start = 0
  for (const part of parts) {
    // Parts of an object come in runs.
    if (part.object !== origin) {
      origin = part.object
      name = groupOf(origin)
    }
    let group = groups.get(name)
    if (!group) {
      group = { origin: part.object, parts: [], starts: [], count: 0 }
      groups.set(name, group)
    }
    group.parts.push(part)
    group.starts.push(start)
    group.count += part.to - part.from
    start += part.to - part.from
  }
  return [...groups.values()]
}

/**
 * A name for exactly these records: their objects, their numbers, their bytes (`crc` of them). The same batch written again has the
 * same, and any other batch another one. The first record would not do: after a crash another batch may begin with it, and what
 * only the first batch held would be lost under it.
 */
export function groupId({ parts }: RecordGroup, crc: bigint): string {
  const hash = createHash('sha256')
  hash.update(crc.toString(16))
  for (const { block, from, to, object } of parts) {
    if (to === from) continue
    hash.update(JSON.stringify([object.id, recordNumber(block, from), recordNumber(block, to - 1), to - from]))
    if (block.kept) hash.update(block.kept.numbers.subarray(from, to))
  }
  return hash.digest('hex').slice(0, 32)
}
