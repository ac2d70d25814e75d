import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ListMultipartUploadsCommand, S3Client } from '@aws-sdk/client-s3'
import type { Command } from '../e2e/command.ts'
import { CopyBed, peakRssBytes } from './copy-bed.ts'

const mib = 2 ** 20
/** 6 parts that are read and 10 that are sent, each of 8 MiB; the process itself, and what a busy machine lets it gather. */
const allowedRssBytes = (6 + 10) * 8 * mib + 200 * mib
// The files, their objects, and what is put together of parts.
const bed = await CopyBed.start(8e9)
after(() => bed[Symbol.asyncDispose]())
const { sshd, s3 } = bed
for (const bucket of ['killed', 'cut', 'down']) await s3.createBucket(bucket)
await bed.write('large/first', 60_000_000)
await bed.write('large/second', 300_000_000)
await sshd.handOver()

const names = [
  (n: number) => `plain-${n}.csv`,
  (n: number) => `with  spaces ${n} `,
  (n: number) => `Grüße-日本-${n}-😀`,
  (n: number) => `e\u0301 not composed ${n}`,
  (n: number) => `new\nline\r${n}`,
  (n: number) => `%20+&=?#;:@$,-${n}`,
  (n: number) => `'quotes" <xml> \\ ${n}`,
  (n: number) => `[glob]*{a,b}?-${n}`,
  (n: number) => `-dash--${n}`,
  (n: number) => `.hidden ${n}\ttab`,
]

async function writeSmall(folder: string, count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) {
    const name = names[n % names.length]?.(n) ?? ''
    const bytes = n % 50 === 0 ? 0 : randomInt(1, 65_537)
    await bed.write(join(folder, n % 3 === 0 ? `sub folder\n${n % 7}` : '', name), bytes)
  }
}

interface Line {
  readonly event: string
  readonly outcome?: string
  readonly copied?: number
  readonly resumedBytes?: number
  readonly stopped?: boolean
}

/** What `--json` told; the last line may be half if the command was killed. */
function told(command: Command): Line[] {
  const lines = command.stdout.split('\n')
  return lines.slice(0, -1).map((line) => JSON.parse(line) as Line)
}

const filesDone = (command: Command) => told(command).filter(({ outcome }) => outcome === 'done').length

async function uploadsOpen(bucket: string): Promise<number> {
  const { endpoint, region, accessKeyId, secretAccessKey } = s3
  const client = new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } })
  try {
    return (await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads?.length ?? 0
  } finally {
    client.destroy()
  }
}

/** Most memory that a command has until it ends. */
async function peakOf(command: Command): Promise<number> {
  let peak = 0
  for (; !command.hasEnded; await sleep(50)) peak = Math.max(peak, peakRssBytes(command.child.pid) ?? 0)
  return peak
}

test('2 GB and 5,000 odd small files, killed ten times at random moments, arrive whole', async (t) => {
  const files = 5000
  // First in the order in which names are taken.
  await bed.write('all/!large', 2_000_000_000)
  await writeSmall('all', files)
  await sshd.handOver()
  const args = [bed.source('all/'), 's3://killed/', '--json']
  const moments: string[] = []
  let [done, peak] = [0, 0]
  for (let kill = 0; kill < 10; kill += 1) {
    const command = bed.copy(args)
    const peaking = peakOf(command)
    // In the moment in which it begins an upload, nobody else knows of it yet.
    if (kill === 0) await command.until(() => bed.parts('killed').length > 0, 'the first part')
    // Every other one may die while it starts.
    else if (kill % 2 === 0) await command.until(() => command.stdout !== '', 'a sign of work')
    const momentMs = randomInt(100, 2500)
    await sleep(momentMs)
    const { code } = await command.kill('SIGKILL')
    assert.equal(code, undefined, command.output.slice(-2000))
    const highest = await peaking
    peak = Math.max(peak, highest)
    const stored = `${filesDone(command)} files, ${bed.parts('killed').length} parts`
    moments.push(`${momentMs} ms: ${stored}, ${Math.round(highest / mib)} MiB`)
    done += filesDone(command)
  }
  t.diagnostic(`killed after ${moments.join('; ')}`)
  const stored = bed.parts('killed').length
  const last = bed.copy(args)
  const peaking = peakOf(last)
  const { code, stderr } = await last.ended
  peak = Math.max(peak, await peaking)
  assert.equal(code, 0, last.output.slice(-3000))
  assert.equal(stderr, '')
  done += filesDone(last)
  const { copied, resumedBytes = 0 } = told(last).at(-1) ?? {}
  t.diagnostic(`then ${copied} files, ${resumedBytes} bytes of ${stored} parts were there; peak RSS ${peak / mib} MiB`)
  t.diagnostic(`${done - files - 1} files were copied once more by the kills`)
  if (stored > 0) assert.ok(resumedBytes > 0, 'parts are not sent again')
  await bed.assertSame('all', 'killed')
  assert.equal(await uploadsOpen('killed'), 0)
  assert.deepEqual(bed.parts('killed'), [])
  assert.deepEqual(readdirSync(join(bed.folder, 'state', 's3-streamer')), [])
  assert.ok(peak <= allowedRssBytes, `${peak} bytes of memory`)
})

/** Copies two large files, and does something to the servers whenever so many parts are there. */
async function disturbed(bucket: string, harms: ReadonlyArray<() => Promise<void>>): Promise<Command> {
  const command = bed.copy([bed.source('large/'), `s3://${bucket}/`, '--json'])
  for (const [index, harm] of harms.entries()) {
    const parts = 5 * (index + 1)
    await command.until(() => bed.parts(bucket).length >= parts, `${parts} parts`)
    await harm()
  }
  const { code } = await command.ended
  assert.equal(code, 0, command.output.slice(-3000))
  await bed.assertSame('large', bucket)
  assert.equal(await uploadsOpen(bucket), 0)
  assert.deepEqual(bed.parts(bucket), [])
  return command
}

test('connections that are cut, and an sshd that is killed and comes back, only cost time', async () => {
  await disturbed('cut', [
    async () => sshd.cutSessions(),
    async () => sshd.cutSessions(),
    async () => {
      await sshd.kill()
      await sleep(1000)
      await sshd.start()
    },
  ])
})

test('an S3 server that is killed and comes back only costs time', async () => {
  const kill = async () => {
    const { restart } = await bed.killS3()
    await sleep(1000)
    await restart()
  }
  await disturbed('down', [kill, kill])
})

test('a copy that is stopped while the S3 server is away goes on from there when it is back', async (t) => {
  await s3.createBucket('away')
  const args = [bed.source('large/second'), 's3://away/second', '--json']
  const first = bed.copy(args)
  await first.until(() => bed.parts('away').length >= 5, 'some parts')
  const { restart } = await bed.killS3()
  await sleep(1500)
  assert.equal((await first.kill('SIGTERM')).code, 1, first.output.slice(-3000))
  assert.equal(told(first).at(-1)?.stopped, true)
  await restart()
  const stored = bed.parts('away').length
  const second = bed.copy(args)
  assert.equal((await second.ended).code, 0, second.output.slice(-3000))
  const { resumedBytes = 0 } = told(second).at(-1) ?? {}
  t.diagnostic(`${stored} parts were there, ${resumedBytes} bytes were not sent again`)
  assert.ok(resumedBytes > 0)
  const content = await readFile(join(sshd.files, 'large/second'))
  assert.ok(content.equals(await readFile(bed.at('away/second'))))
  assert.equal(await uploadsOpen('away'), 0)
})
