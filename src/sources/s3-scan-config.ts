import * as z from 'zod'
import { awsFields } from '../aws/connection.ts'
import { duration } from '../config/fields.ts'
import { templateLevels } from './partition.ts'

/** Time of `start_at` in ms since the epoch (UTC if it has no zone), 0 for the beginning; undefined if the text is no start. */
export function startAtMs(text: string, nowMs: number): number | undefined {
  if (text === 'beginning') return 0
  if (text === 'now') return nowMs
  const hasZone = /(?:z|[+-]\d\d:?\d\d)$/i.test(text.slice(10))
  // JavaScript reads a time without a zone as that of this machine.
  const ms = /^\d{1,10}$/.test(text)
    ? Number(text) * 1000
    : Date.parse(text.length <= 10 || hasZone ? text : `${text}Z`)
  return /^\d{4}-|^\d{1,10}$/.test(text) && Number.isFinite(ms) ? ms : undefined
}

export const s3ScanConfig = z.strictObject({
  type: z.literal('s3_scan'),
  bucket: z
    .string()
    .min(1)
    .transform((name) => name.replace(/^s3:\/\//, '').replace(/\/+$/, ''))
    .refine((name) => name !== '', 'must name a bucket')
    .meta({ description: 'Bucket to scan; a leading `s3://` is dropped.' }),
  prefix: z
    .string()
    .default('')
    .transform((prefix) => prefix.replace(/^\//, ''))
    .meta({ description: 'Only keys that start with this; one leading slash is dropped.' }),
  ...awsFields,
  partition: z
    .string()
    .default('auto')
    .superRefine((partition, context) => {
      if (partition === 'auto' || partition === 'none') return
      try {
        templateLevels(partition)
      } catch (error) {
        context.addIssue((error as Error).message)
      }
    })
    .meta({
      description:
        'Where dates are in the keys: `auto` finds them by folder names; or a template below the prefix such as `year={yyyy}/month={M}/day={d}/`, `{yyyy}/{MM}/{dd}/{HH}/`; `none` for a flat prefix.',
    }),
  start_at: z
    .union([z.string(), z.int().transform(String)])
    .default('beginning')
    .superRefine((text, context) => {
      if (startAtMs(text, 0) !== undefined) return
      context.addIssue(`${JSON.stringify(text)} is no start: write beginning, now, or a time like 2025-10-12T21:00:00Z`)
    })
    .meta({ description: 'What the first start reads: `beginning`, `now`, or a time (RFC 3339, or Unix seconds).' }),
  lookback: duration()
    .prefault('1h')
    .meta({ description: 'How far behind the checkpoint each scan lists again, for objects that arrive late.' }),
  scan_interval: duration({ min: '1ms' })
    .prefault('15s')
    .meta({ description: 'Time between the starts of two scans.' }),
  delay_window: duration()
    .prefault('60s')
    .meta({ description: 'Objects whose name says they are younger than this are left for a later scan.' }),
  workers: z.int().min(1).default(15).meta({ description: 'Objects fetched at once.' }),
  queue: z
    .int()
    .min(1)
    .default(1000)
    .meta({ description: 'Listed objects that may wait for a worker; listing pauses when it is full.' }),
})
export type S3ScanConfig = z.output<typeof s3ScanConfig>
