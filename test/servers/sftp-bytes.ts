/** Bytes of files of any size without memory for them, for the test SFTP server. */
import { createHash } from 'node:crypto'
import type { FileBytes } from './sftp-tree.ts'

/** A prime: bytes in the wrong place are wrong bytes, whatever the size of the parts. */
const period = 1_048_573

/** The same bytes for the same seed; every byte depends on its offset. */
export function virtualBytes(seed = 'virtual'): FileBytes {
  const once = Buffer.from(createHash('shake256', { outputLength: period }).update(seed).digest())
  // Twice, so that up to one period is there without a break at any offset.
  const twice = Buffer.concat([once, once])
  return (from, to) => {
    const start = from % period
    if (to - from <= period) return twice.subarray(start, start + to - from)
    const bytes = Buffer.allocUnsafe(to - from)
    for (let at = 0; at < bytes.length; at += period) {
      twice.copy(bytes, at, start, start + Math.min(period, bytes.length - at))
    }
    return bytes
  }
}
