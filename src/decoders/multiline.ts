/**
 * Records of several lines: a line that matches the start pattern begins a record, the lines after it belong to it. Lines
 * before the first start are a record too. Line ends and blank lines inside a record are kept; the last line end is not part of it.
 */
import { RE2JS } from 're2js'
import type { Block } from '../core/block.ts'
import { StreamError } from '../core/errors.ts'
import { cut, type RecordWriter } from './records.ts'

const lf = 10
const cr = 13
/** A start pattern looks at the beginning of a line; more of a long line is not decoded for it. */
const lookedAt = 512

export async function* joinLines(
  bytes: AsyncIterable<Buffer>,
  o: { readonly writer: RecordWriter; readonly start: string; readonly headerLines: number },
): AsyncGenerator<Block, void, undefined> {
  const { writer } = o
  const start = RE2JS.compile(o.start)
  const isStart = (line: Buffer) => start.matcher(line.toString('utf8', 0, Math.min(line.length, lookedAt))).find()
  let headerLeft = o.headerLines
  /** The record under way, and the line whose end is not seen yet. */
  let record: Buffer[] = []
  let recordBytes = 0
  let line: Buffer[] = []
  let lineBytes = 0
  let isTooLong = false
  const close = () => {
    const whole = Buffer.concat(record, recordBytes)
    record = []
    recordBytes = 0
    if (isTooLong && writer.policy !== 'split') {
      isTooLong = false
      if (writer.policy === 'quarantine') {
        writer.refuse()
        return
      }
    }
    isTooLong = false
    let end = whole.length
    while (end > 0 && (whole[end - 1] === lf || whole[end - 1] === cr)) end -= 1
    let from = 0
    while (from < end && (whole[from] === lf || whole[from] === cr)) from += 1
    const text = whole.subarray(from, end)
    writer.add(text, -1, text.includes(lf))
  }
  const extend = (part: Buffer) => {
    record.push(part)
    recordBytes += part.length
    // What is longer than a record may be does not pile up.
    while (recordBytes > writer.lineBytes + 2) {
      isTooLong = true
      const whole = Buffer.concat(record, recordBytes)
      const to = cut(whole, 0, writer.lineBytes)
      if (writer.policy === 'split') writer.add(whole.subarray(0, to), -1, whole.subarray(0, to).includes(lf))
      record = [writer.policy === 'split' ? whole.subarray(to) : whole.subarray(0, writer.lineBytes)]
      recordBytes = (record[0] as Buffer).length
      if (writer.policy !== 'split') return
    }
  }
  const endLine = (whole: Buffer) => {
    if (headerLeft > 0) {
      headerLeft -= 1
      return
    }
    if (recordBytes > 0 && isStart(whole)) close()
    extend(whole)
  }
  let after: unknown
  try {
    for await (const chunk of bytes) {
      let at = 0
      for (let end = chunk.indexOf(lf); end >= 0; end = chunk.indexOf(lf, at)) {
        const part = chunk.subarray(at, end + 1)
        at = end + 1
        if (lineBytes === 0) endLine(part)
        else {
          endLine(Buffer.concat([...line, part]))
          line = []
          lineBytes = 0
        }
      }
      // Views of this chunk must not outlive it: the next one may be a long wait away.
      record = record.length === 0 ? record : [Buffer.concat(record, recordBytes)]
      if (at < chunk.length) {
        line.push(Buffer.from(chunk.subarray(at)))
        lineBytes += chunk.length - at
        if (lineBytes > writer.lineBytes + lookedAt) {
          endLine(Buffer.concat(line, lineBytes))
          line = []
          lineBytes = 0
        }
      }
      yield* writer.take()
    }
  } catch (error) {
    // Everything was decoded, something else follows: the last record is whole.
    if (!(error instanceof StreamError) || error.code !== 'decode.trailing_bytes') throw error
    after = error
  }
  if (lineBytes > 0) endLine(Buffer.concat(line, lineBytes))
  if (recordBytes > 0) close()
  yield* writer.take()
  if (after !== undefined) throw after
  writer.finish()
}
