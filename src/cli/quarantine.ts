/** `quarantine`: what could not be delivered, why, trying it again, and forgetting it. */
import { recordAt } from '../core/block.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { objectName } from '../core/object-name.ts'
import type { QuarantineEntry, RejectedRecords } from '../ledger/ledger.ts'
import { count, counted, fileSize, utc } from '../telemetry/figures.ts'
import { printable } from '../telemetry/text-line.ts'
import { ledgerOf } from './assemble.ts'
import { openConfig } from './config-file.ts'
import type { ExitCode, Io } from './io.ts'
import { createCommandLog } from './run-log.ts'
import { eachLedger } from './state.ts'

interface Flags {
  readonly config: string
  readonly pipeline?: string
}

const shownBytes = 300
/** Entries that are shown before they are dropped. */
const shownEntries = 20

export async function quarantineList(flags: Flags & { readonly json: boolean }, io: Io): Promise<ExitCode> {
  const loaded = openConfig(flags, io)
  if (!loaded) return 2
  let entries = 0
  const code = await eachLedger(loaded, io, 'readonly', ({ name }, ledger) => {
    const kept = ledger.quarantine()
    if (!flags.json && kept.length > 0 && loaded.pipelines.length > 1) io.stdout(`# ${name}\n`)
    for (const entry of kept) {
      entries += 1
      io.stdout(flags.json ? `${JSON.stringify({ pipeline: name, ...entry })}\n` : entryLines(entry))
    }
  })
  if (code === 0 && entries === 0 && !flags.json) io.stdout('quarantine is empty\n')
  return code
}

export async function quarantineShow(
  id: number,
  flags: Flags & { readonly records: boolean },
  io: Io,
): Promise<ExitCode> {
  const loaded = openOne(flags, io)
  if (!loaded) return 2
  let found = false
  const code = await eachLedger(loaded, io, 'readonly', ({ name }, ledger) => {
    const entry = ledger.quarantined(id)
    if (!entry) return
    found = true
    const rejected = ledger.rejectedRecords(id)
    if (!flags.records) io.stdout(describeEntry(name, entry, rejected))
    else if (rejected) io.stdout(rejected.data)
    else io.stderr(`entry ${id} is a whole object: it has no records of its own; \`s3-streamer explain\` reads it\n`)
  })
  if (code !== 0 || found) return code
  io.stderr(unknownEntry(id))
  return 1
}

export async function quarantineRequeue(ids: number[] | 'all', flags: Flags, io: Io): Promise<ExitCode> {
  if (ids.length === 0) {
    io.stderr('say which entries: `s3-streamer quarantine requeue 3 4`, or `s3-streamer quarantine requeue --all`\n')
    return 2
  }
  const loaded = ids === 'all' ? openConfig(flags, io) : openOne(flags, io)
  if (!loaded) return 2
  let marked = 0
  const unknown: number[] = []
  const code = await eachLedger(loaded, io, 'shared', (_, ledger) => {
    if (ids !== 'all') unknown.push(...ids.filter((id) => !ledger.quarantined(id)))
    marked += ledger.requeue(ids)
  })
  if (code !== 0) return code
  for (const id of unknown) io.stderr(unknownEntry(id))
  if (marked > 0) {
    const entries = marked === 1 ? '1 entry is' : `${count(marked)} entries are`
    io.stdout(`${entries} tried again: by the running streamer at its next scan, else at the next start\n`)
  } else if (ids === 'all') io.stdout('quarantine is empty: nothing to try again\n')
  return unknown.length > 0 ? 1 : 0
}

export async function quarantineDrop(
  ids: readonly number[],
  flags: Flags & { readonly yes: boolean },
  io: Io,
): Promise<ExitCode> {
  const loaded = openOne(flags, io)
  const [config] = loaded?.pipelines ?? []
  if (!loaded || !config) return 2
  const log = createCommandLog(io)
  try {
    const looked = ledgerOf(config, 'readonly', log)
    const entries = [...new Set(ids)].map((id) => ({ id, entry: looked.quarantined(id) }))
    await looked[Symbol.asyncDispose]()
    const known = entries.flatMap(({ entry }) => entry ?? [])
    for (const { id, entry } of entries) if (!entry) io.stderr(unknownEntry(id))
    if (known.length === 0) return 1
    const refused = await notSure(known, flags, io)
    if (refused !== undefined) return refused
    await using ledger = ledgerOf(config, 'shared', log)
    const dropped = ledger.drop(known.map(({ id }) => id))
    io.stdout(`${dropped === 1 ? '1 entry was' : `${count(dropped)} entries were`} dropped\n`)
    return known.length < entries.length ? 1 : 0
  } catch (error) {
    if (!(error instanceof StreamError)) throw error
    io.stderr(`${config.name}: ${printable(explainError(error))}\n`)
    return 1
  }
}

/** Says what is lost, and asks; the exit code if it is not to be. */
async function notSure(
  entries: readonly QuarantineEntry[],
  { yes }: { readonly yes: boolean },
  io: Io,
): Promise<ExitCode | undefined> {
  if (yes) return undefined
  const lost = lossOf(entries)
  if (!io.ask) {
    io.stderr(`quarantine drop forgets ${lost}: add --yes if that is wanted\n`)
    return 2
  }
  for (const entry of entries.slice(0, shownEntries)) io.stderr(entryLines(entry))
  if (entries.length > shownEntries) io.stderr(`       and ${count(entries.length - shownEntries)} more\n`)
  const answer = await io.ask(`Forget ${lost}? [y/N] `)
  if (/^y(es)?$/i.test(answer.trim())) return undefined
  io.stderr('nothing was changed\n')
  return 1
}

/** `2 entries: 204 records, which are kept nowhere else by the streamer, and 1 object, …`. */
function lossOf(entries: readonly QuarantineEntry[]): string {
  const of = (kind: QuarantineEntry['kind']) => entries.filter((entry) => entry.kind === kind)
  const records = of('records').reduce((sum, entry) => sum + entry.records, 0)
  const [objects, messages] = [of('object').length, of('message').length]
  const parts = [
    ...(records > 0 ? [`${counted(records, 'refused record')}, of which there is no other copy here`] : []),
    ...(messages > 0 ? [`${counted(messages, 'message')}, deleted from the queue long since`] : []),
    ...(objects > 0
      ? [
          `that ${counted(objects, 'object')} could not be read whole (${objects === 1 ? 'it is' : 'they are'} not tried again)`,
        ]
      : []),
  ]
  return `${counted(entries.length, 'entry', 'entries')} of the quarantine: ${parts.join('; ')}`
}

/** Numbers of entries mean something within one pipeline only. */
function openOne(flags: Flags, io: Io) {
  const loaded = openConfig(flags, io)
  if (!loaded || loaded.pipelines.length === 1) return loaded
  const names = loaded.pipelines.map(({ name }) => name).join(', ')
  io.stderr(`each pipeline numbers its entries from 1: say which one is meant with --pipeline (${names})\n`)
  return undefined
}

function unknownEntry(id: number): string {
  return `there is no entry ${id} in quarantine: see \`s3-streamer quarantine list\`\n`
}

/** The object, or the message that is kept. */
function nameOf({ kind, object }: QuarantineEntry): string {
  return kind === 'message' ? `queue ${object.key.split('#', 1)[0]}, message ${object.id}` : objectName(object)
}

function entryLines(entry: QuarantineEntry): string {
  const { id, kind, reason, records, createdMs, requeued } = entry
  const what = kind !== 'records' ? kind : counted(records, 'record')
  const name = nameOf(entry)
  const mark = requeued ? '  (to be tried again)' : ''
  // The reason of an object begins with its name often enough; once is enough.
  const why = reason.replace(`${name}: `, 'it: ')
  return printable(`${String(id).padStart(5)}  ${utc(createdMs)}  ${what.padEnd(13)}  ${name}${mark}`).concat(
    `\n${' '.repeat(7)}${printable(why)}\n`,
  )
}

/** `last` is given where records between the first and it are not kept. */
function recordsPlace(first: number, records: number, last: number | undefined): string {
  const span = `${count(first)} to ${count(last ?? first + records - 1)} of the object, counted from 0`
  return last === undefined ? `records ${span}` : `${count(records)} of the records ${span}`
}

function describeEntry(pipeline: string, entry: QuarantineEntry, rejected: RejectedRecords | undefined): string {
  const { id, object, reason, position, createdMs, requeued } = entry
  const first = entry.kind === 'records' ? entry.firstRecord : position.records
  const place =
    entry.kind === 'message'
      ? 'the whole message, which was deleted from the queue'
      : entry.kind === 'records'
        ? recordsPlace(first, entry.records, rejected?.numbers?.at(-1))
        : first > 0
          ? `after ${count(first)} records, which were delivered`
          : 'nothing of it could be read'
  const lines = [
    `entry      ${id}${requeued ? ' (to be tried again)' : ''}`,
    `pipeline   ${pipeline}`,
    `${entry.kind === 'message' ? 'message' : 'object '}    ${nameOf(entry)}`,
    ...(entry.kind === 'message' ? [] : [`version    ${object.id.slice(object.id.lastIndexOf('@') + 1)}`]),
    `since      ${utc(createdMs)}`,
    `where      ${place}`,
    `reason     ${reason}`,
  ]
  if (rejected) {
    const { data, ends, multiline } = rejected
    const record = recordAt({ data, ends, multiline, first: 0, resumeAt: -1 }, 0)
    const cut = record.length > shownBytes ? `… (${fileSize(record.length)})` : ''
    lines.push(
      `first      ${record.subarray(0, shownBytes).toString()}${cut}`,
      `all        s3-streamer quarantine show ${id} --records`,
    )
  }
  lines.push(`try again  s3-streamer quarantine requeue ${id}`, `forget     s3-streamer quarantine drop ${id}`)
  return `${lines.map(printable).join('\n')}\n`
}
