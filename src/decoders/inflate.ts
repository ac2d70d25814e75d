/** Runs a zlib transform one piece at a time and takes its output in large chunks, on the thread pool. */
import type { Transform } from 'node:stream'
import type { Slots } from '../core/slots.ts'

/** A large output chunk costs least; a small object must not pay for one (docs/design.md, "Speed"). */
const chunkBytes = 2 ** 20

/** Output chunk for `bytes` of compressed input at hand, of which nothing more follows if `ended`. */
export function outputChunk(bytes: number, ended: boolean): number {
  return ended ? Math.min(chunkBytes, Math.max(16 * 1024, 2 ** Math.ceil(Math.log2(bytes * 16)))) : chunkBytes
}

export interface Gate {
  /** Held from the moment a piece is there until its output was taken; undefined for inner layers. */
  readonly slots: Slots | undefined
  readonly signal: AbortSignal
}

/**
 * Writes `piece` and yields what comes out of it; returns when the transform has taken the piece, or ended before. Throws the
 * error of the transform; what it gave before that was yielded.
 */
export async function* pump(transform: Transform, piece: Buffer): AsyncGenerator<Buffer, void, undefined> {
  let finished = false
  let failure: { readonly error: unknown } | undefined
  let wake: () => void = () => undefined
  const finish = () => {
    finished = true
    wake()
  }
  const fail = (error: unknown) => {
    failure ??= { error }
    wake()
  }
  const ready = () => wake()
  transform.on('readable', ready).on('end', finish).on('error', fail)
  try {
    transform.write(piece, (error) => {
      if (error) fail(error)
      else finish()
    })
    for (;;) {
      const chunk = transform.read() as Buffer | null
      if (chunk) yield chunk
      else if (failure) throw failure.error
      else if (finished) return
      else {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
  } finally {
    transform.off('readable', ready).off('end', finish).off('error', fail)
  }
}
