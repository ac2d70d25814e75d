/** Keys that mean the same in every sink. */
import * as z from 'zod'
import { duration, size } from '../config/fields.ts'

/** `batch`: how records are gathered. `maxBytes` is the most that may be configured. */
export const batchField = (o: { records: number; bytes: string; maxBytes: string; linger?: string }) =>
  z
    .strictObject({
      records: z.int().min(1).default(o.records).meta({ description: 'Most records in one batch.' }),
      bytes: size({ min: '1', max: o.maxBytes })
        .prefault(o.bytes)
        .meta({ description: 'Most bytes in one batch; only a single larger record exceeds it.' }),
      linger: duration({ min: '1ms' })
        .prefault(o.linger ?? '1s')
        .meta({ description: 'Longest wait of a record for its batch to fill.' }),
    })
    .prefault({})
    .meta({ description: 'How records are gathered into batches.' })

export const retryField = z
  .strictObject({
    min: duration({ min: '1ms' })
      .prefault('100ms')
      .meta({ description: 'First wait before a retry; doubled each time, with full jitter.' }),
    max: duration({ min: '1ms' })
      .prefault('30s')
      .meta({ description: 'Longest wait between retries. Retries never end.' }),
  })
  .prefault({})
  .meta({ description: 'How transient errors are retried.' })
