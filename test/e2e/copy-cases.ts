/** What the tests of bad input share: a pipeline that gives up soon, what `--json` told, and a line that is cut. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import type { Io } from '../../src/cli/io.ts'
import type { CopyBed } from '../servers/copy-bed.ts'
import { type Answer, runProgram } from '../servers/testbed.ts'
import { type Figures, PushedFigures } from './figures.ts'

export const mib = 2 ** 20

/** What a command left behind is told by its exit code, its words, and what is at both ends. */
export interface Left {
  readonly code: number
  /** Parts of the message: what, where, what to do. */
  readonly says: readonly RegExp[]
  /** Keys that may be there, all of them whole. */
  readonly keys?: readonly string[]
  readonly uploads?: number
}

/** Nothing but whole objects, no upload, no secret, every file still at its source. */
export function assertLeft(bed: CopyBed, answer: Answer, sources: Readonly<Record<string, Buffer>>, o: Left): void {
  const text = `${answer.out}${answer.err}`
  for (const part of o.says) assert.match(text, part)
  assert.doesNotMatch(text, /correct horse/)
  assert.equal(answer.code, o.code, text)
  const stored = bed.stored()
  if (o.keys) assert.deepEqual(Object.keys(stored).toSorted(), o.keys.toSorted())
  for (const [key, body] of Object.entries(stored)) assert.ok(sources[key]?.equals(body), `${key} is wrong`)
  assert.equal(bed.s3.uploads().length, o.uploads ?? 0)
  assert.equal(bed.sftp.counters.handlesOpen, 0)
  assert.equal(bed.sftp.counters.removes + bed.sftp.counters.renames, 0)
}

/** A file of configuration with the bed's servers; retries are short, so that what fails for good fails soon. */
export function writeConfig(
  { folder, sftp, s3 }: CopyBed,
  o: { readonly source?: object; readonly sink?: object; readonly pushed?: PushedFigures } = {},
): string {
  const login = { host: sftp.host, port: sftp.port, username: sftp.user, password: sftp.password }
  const known = { known_hosts_file: join(folder, 'known_hosts') }
  const source = { type: 'sftp', ...login, ...known, path: '/upload', ...o.source }
  const retry = { min: '1ms', max: '5ms', max_attempts: 3 }
  const sink = { type: 's3', bucket: 'data', endpoint: s3.endpoint, part_size: '5MiB', retry, ...o.sink }
  const state = { file_path: join(folder, 'pipeline.json') }
  const config = join(folder, 'config.yaml')
  const logging = { level: 'warn', format: 'text' }
  writeFileSync(
    config,
    JSON.stringify({ pipelines: [{ name: 'drop', source, sink, state }], logging, pushgateway: o.pushed?.section }),
  )
  return config
}

/** `run --once` of that pipeline, whose figures must tell what it did. */
export async function runPipeline(
  bed: CopyBed,
  o: Parameters<typeof writeConfig>[1] & { readonly io?: Partial<Io> } = {},
): Promise<Answer> {
  await using pushed = await PushedFigures.open()
  const answer = await runProgram(['run', '--once', '--config', writeConfig(bed, { ...o, pushed })], {
    ...{ env: bed.env, ...o.io },
  })
  assertFiles(pushed.last)
  assert.equal(pushed.last.sum('s3_streamer_success'), answer.code === 0 ? 1 : 0)
  return answer
}

/** `copy` of all of the bed's files, whose figures must tell what it did. */
export async function copyAll(bed: CopyBed, ...more: string[]): Promise<Answer> {
  await using pushed = await PushedFigures.open()
  const args = [`${bed.login}/upload/`, 's3://data/', '--part-size', '5MiB', '--pushgateway', pushed.section.endpoint]
  const answer = await bed.copy([...args, ...more])
  if (!pushed.isEmpty) {
    const { last } = pushed
    assertFiles(last)
    const [end] = more.includes('--json') ? events(answer, 'end') : []
    const files = (outcome: string) => last.sum('transfer_files_total', { outcome })
    if (end) {
      assert.deepEqual([files('done'), files('skipped')], [end.copied, end.skipped])
      assert.equal(last.sum('s3_bytes_processed_total'), end.bytes)
    }
  }
  return answer
}

/** Each attempt at a file is in both counts of them, each byte in those of either name; no record is read. */
function assertFiles(figures: Figures): void {
  const copied = ['done', 'skipped'].map((outcome) => figures.sum('transfer_files_total', { outcome }))
  assert.equal(
    copied.reduce((sum, n) => sum + n, 0),
    figures.sum('objects_total', { outcome: 'done' }),
  )
  assert.equal(figures.sum('transfer_files_total'), figures.sum('objects_total'))
  assert.equal(figures.sum('transfer_bytes_total'), figures.sum('sftp_s3_bytes_transferred_total'))
  assert.equal(figures.balance().read, 0)
  assert.equal(figures.sum('transfer_parts_in_flight'), 0)
}

/** The lines of `--json` of one kind. */
export function events({ out }: Answer, event: string): Array<Record<string, unknown>> {
  return out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((line) => line.event === event)
}

/** How it ended, by the last line of `--json`. */
export function endOf(answer: Answer): Record<string, unknown> {
  const { copied, skipped, failed, unread, bytes, stopped } = events(answer, 'end').at(-1) ?? {}
  return { copied, skipped, failed, unread, bytes, stopped }
}

export interface CutLine extends AsyncDisposable {
  readonly port: number
  /** Connections that came. */
  readonly connections: number
}

/** Passes connections on to a port of this machine; the first of them are reset once the server has said so many bytes. */
export async function startCutLine(target: number, cuts: readonly number[]): Promise<CutLine> {
  let connections = 0
  const server = createServer((client) => {
    const cutAt = cuts[connections]
    connections += 1
    const upstream = connect(target, '127.0.0.1')
    let passed = 0
    const end = () => {
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true)
      socket.on('error', end)
      socket.on('close', end)
    }
    client.pipe(upstream)
    upstream.on('data', (bytes: Buffer) => {
      const rest = (cutAt ?? Number.POSITIVE_INFINITY) - passed
      passed += bytes.length
      if (bytes.length < rest) {
        if (!client.write(bytes)) upstream.pause()
        return
      }
      client.write(bytes.subarray(0, rest), () => client.resetAndDestroy())
    })
    client.on('drain', () => upstream.resume())
    if (cutAt === 0) client.resetAndDestroy()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    get connections() {
      return connections
    },
    async [Symbol.asyncDispose]() {
      server.close()
    },
  }
}
