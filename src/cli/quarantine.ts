/** `quarantine`: what could not be delivered, why, and trying it again. */
import { recordStart } from '../core/block.ts'
import type { QuarantineEntry } from '../ledger/ledger.ts'
import { count, utc } from './figures.ts'
import type { ExitCode, Io } from './program.ts'
import { eachLedger } from './state.ts'

interface Flags {
  readonly config: string
  readonly pipeline?: string
}

export async function quarantineList(flags: Flags & { readonly json: boolean }, io: Io): Promise<ExitCode> {
  let entries = 0
  const code = await eachLedger(flags, io, 'readonly', ({ name }, ledger) => {
    for (const entry of ledger.quarantine()) {
      entries += 1
      io.stdout(flags.json ? `${JSON.stringify({ pipeline: name, ...entry })}\n` : `${line(entry)}\n`)
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
  let found = false
  const code = await eachLedger(flags, io, 'readonly', ({ name }, ledger) => {
    const entry = ledger.quarantined(id)
    if (!entry) return
    found = true
    const rejected = ledger.rejectedRecords(id)
    if (flags.records) {
      if (rejected) io.stdout(rejected.data.toString())
      return
    }
    const { object, reason, position, createdMs, requeued } = entry
    const place =
      entry.kind === 'records'
        ? `records ${count(entry.firstRecord)} to ${count(entry.firstRecord + entry.records - 1)}`
        : `readable up to record ${count(position.records)}; what came before was delivered`
    const first = rejected
      ? rejected.data.subarray(0, Math.min(recordStart({ ...rejected, first: 0, resumeAt: -1 }, 1) - 1, 200))
      : undefined
    io.stdout(
      [
        `entry      ${id}${requeued ? ' (requeued: tried again at the next scan)' : ''}`,
        `pipeline   ${name}`,
        `object     s3://${object.bucket}/${object.key}`,
        `version    ${object.id.slice(object.id.lastIndexOf('@') + 1)}`,
        `since      ${utc(createdMs)}`,
        `where      ${place}`,
        `reason     ${reason}`,
        ...(first ? [`first      ${first.toString()}`] : []),
        `again      s3-streamer quarantine requeue ${id}${rejected ? `      the records: quarantine show ${id} --records` : ''}`,
      ].join('\n') + '\n',
    )
  })
  if (code !== 0 || found) return code
  io.stderr(`no entry ${id} in quarantine: see \`s3-streamer quarantine list\`\n`)
  return 1
}

export async function quarantineRequeue(ids: number[] | 'all', flags: Flags, io: Io): Promise<ExitCode> {
  if (ids.length === 0) {
    io.stderr('say which entries: `quarantine requeue 3 4`, or `quarantine requeue --all`\n')
    return 2
  }
  let marked = 0
  const code = await eachLedger(flags, io, 'shared', (_, ledger) => {
    marked += ledger.requeue(ids)
  })
  if (code !== 0) return code
  io.stdout(
    `${count(marked)} entries are tried again: by the running streamer at its next scan, or at the next start\n`,
  )
  return ids === 'all' || marked === ids.length ? 0 : 1
}

function line({ id, kind, object, reason, records, createdMs, requeued }: QuarantineEntry): string {
  const what = kind === 'object' ? 'object' : `${count(records)} records`
  return `${String(id).padStart(4)}  ${utc(createdMs)}  ${what.padEnd(14)} s3://${object.bucket}/${object.key}  ${reason}${requeued ? '  (requeued)' : ''}`
}
