/** What a batch looks like in the body of a request. */
import { isUtf8 } from 'node:buffer'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { recordAt, recordStart } from '../core/block.ts'
import type { Batch, Part } from '../core/component.ts'

const compress = promisify(gzip)
const lf = 10

/** Lines of a batch, one record each. Records go byte for byte; one that contains LF becomes `{"message":"…"}` in one line. */
export function ndjsonBody({ parts }: Batch): Buffer[] {
  const pieces: Buffer[] = []
  for (const part of parts) {
    if (!part.block.multiline) pieces.push(linesOf(part))
    else for (let i = part.from; i < part.to; i += 1) pieces.push(oneLine(recordAt(part.block, i)), newline)
  }
  return pieces
}

const newline = Buffer.from('\n')

function linesOf({ block, from, to }: Part): Buffer {
  return block.data.subarray(recordStart(block, from), block.ends[to - 1])
}

/** Invalid UTF-8 becomes U+FFFD: JSON cannot carry it. */
function oneLine(record: Buffer): Buffer {
  return record.includes(lf) ? Buffer.from(JSON.stringify({ message: record.toString() })) : record
}

/** One JSON array: records that are JSON as they are, others as strings. */
export function arrayBody({ parts }: Batch): Buffer {
  const pieces: Buffer[] = [Buffer.from('[')]
  for (const { block, from, to } of parts) {
    for (let i = from; i < to; i += 1) {
      if (pieces.length > 1) pieces.push(Buffer.from(','))
      const record = recordAt(block, i)
      pieces.push(isJson(record) ? record : Buffer.from(JSON.stringify(record.toString())))
    }
  }
  pieces.push(Buffer.from(']'))
  return Buffer.concat(pieces)
}

function isJson(record: Buffer): boolean {
  // Parsing would hide bytes that no JSON may contain.
  if (!isUtf8(record)) return false
  try {
    JSON.parse(record.toString())
    return true
  } catch {
    return false
  }
}

/** Level 1: the receiver is near, and the CPU is ours. */
export async function gzipped(body: Buffer): Promise<Buffer> {
  return await compress(body, { level: 1 })
}
