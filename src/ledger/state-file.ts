/** state.json: what the operator sees and may edit. Five fields, as the old program wrote them. */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import * as z from 'zod'
import { StreamError } from '../core/errors.ts'

/** Times are whole seconds since the epoch. Past the year 2200 they are not: someone wrote milliseconds. */
const seconds = z.int().min(0).max(7_258_118_400)

const stateSchema = z.object({
  last_processed_timestamp: seconds,
  last_processed_file: z.string().default(''),
  total_files_processed: z.int().min(0).default(0),
  total_bytes_processed: z.int().min(0).default(0),
  last_updated: seconds.default(0),
})

export type StateFile = z.output<typeof stateSchema>

export type StateFileContent =
  | { readonly kind: 'missing' }
  | { readonly kind: 'valid'; readonly state: StateFile }
  | { readonly kind: 'corrupt'; readonly why: string }

/** Throws a StreamError if the file is there and the file system does not give it. */
export function readStateFile(path: string): StateFileContent {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { kind: 'missing' }
    throw new StreamError('ledger.corrupt', `cannot read state.file_path ${path}`, { cause: error })
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    return { kind: 'corrupt', why: text.trim() === '' ? 'it is empty' : `it is no JSON: ${(error as Error).message}` }
  }
  const parsed = stateSchema.safeParse(json)
  if (parsed.success) return { kind: 'valid', state: parsed.data }
  const issue = parsed.error.issues[0]
  return { kind: 'corrupt', why: `${issue?.path.join('.') || 'its content'}: ${issue?.message}` }
}

/** Replaces the file in one step: after a power cut it is the old one or the new one, whole. */
export function writeStateFile(path: string, state: StateFile): void {
  const temporary = `${path}.tmp`
  const file = openSync(temporary, 'w', 0o644)
  try {
    writeSync(file, `${JSON.stringify(state, null, 2)}\n`)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(temporary, path)
  const folder = openSync(dirname(path), 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

/** Renames a file that cannot be read, out of the way; gives its new path. */
export function setAside(path: string, nowMs: number): string {
  const aside = `${path}.corrupt-${new Date(nowMs).toISOString().replaceAll(/[:.]/g, '-')}`
  renameSync(path, aside)
  return aside
}

/** What is to be said when the file was set aside as `aside`. */
export function corruptState(
  path: string,
  { why, aside, hasHistory }: { readonly why: string; readonly aside: string; readonly hasHistory: boolean },
): StreamError {
  const next = hasHistory
    ? 'the ledger beside it is whole: start again, and it goes on where it was'
    : 'there is no ledger beside it: start again to begin by start_at'
  return new StreamError(
    'state.corrupt',
    `${path} cannot be read (${why}) and was set aside as ${aside}; ${next}, or choose a time first with \`s3-streamer state set TIME\``,
  )
}

/** Throws ledger.corrupt if the folder of the file cannot be made. */
export function makeParent(path: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
  } catch (error) {
    throw new StreamError('ledger.corrupt', `cannot make the folder of state.file_path ${path}`, { cause: error })
  }
}
