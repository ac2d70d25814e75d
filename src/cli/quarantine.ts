/** `quarantine`: what could not be delivered, why, and trying it again. */
import { recordAt } from '../core/block.ts'
import { objectName } from '../core/object-name.ts'
import type { QuarantineEntry, RejectedRecords } from '../ledger/ledger.ts'
import { count, fileSize, utc } from '../telemetry/figures.ts'
import { printable } from '../telemetry/text-line.ts'
import { openConfig } from './config-file.ts'
import type { ExitCode, Io } from './program.ts'
import { eachLedger } from './state.ts'

interface Flags {
  readonly config: string
  readonly pipeline?: string
}

const shownBytes = 300

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
  const what = kind !== 'records' ? kind : records === 1 ? '1 record' : `${count(records)} records`
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
  lines.push(`try again  s3-streamer quarantine requeue ${id}`)
  return `${lines.map(printable).join('\n')}\n`
}
