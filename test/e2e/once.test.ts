import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { startHttpInput } from '../servers/http-input.ts'
import { startS3 } from '../servers/s3.ts'
import { s3Errors } from '../servers/s3-wire.ts'
import { zscalerPrefix } from '../servers/zscaler-data.ts'
import { bin, Command, Installation } from './command.ts'
import { PushedFigures } from './figures.ts'
import { Arrivals, csvFormat, oddObjects } from './odd-objects.ts'

const cleanups: Array<() => unknown> = []
after(async () => {
  for (const cleanup of cleanups) await cleanup()
})

type More = Partial<ConstructorParameters<typeof Installation>[0]>

async function world(o: More = {}) {
  const s3 = await startS3()
  const arrivals = new Arrivals()
  const inputs = [await startHttpInput({ take: arrivals.take }), await startHttpInput({ take: arrivals.take })]
  const pushed = await PushedFigures.open()
  const more = `${pushed.config}\n${o.more ?? ''}`
  const installation = new Installation({ endpoint: s3.endpoint, inputs: inputs.map(({ url }) => url), ...o, more })
  cleanups.push(
    () => pushed[Symbol.asyncDispose](),
    () => s3.close(),
    ...inputs.map((input) => () => input.close()),
    () => installation.remove(),
  )
  return { s3, arrivals, inputs, installation, pushed }
}

const day = `${zscalerPrefix}year=2025/month=10/day=12/`
/** An object of some minutes ago, in the folder of its day. */
function recent(minutesAgo: number): { readonly key: string; readonly seconds: number } {
  const time = new Date(Date.now() - minutesAgo * 60_000)
  const seconds = Math.floor(time.getTime() / 1000)
  const folder = `year=${time.getUTCFullYear()}/month=${time.getUTCMonth() + 1}/day=${time.getUTCDate()}`
  return { key: `${zscalerPrefix}${folder}/${seconds}_1_1_1.gz`, seconds }
}
const lines = (name: string, count: number) => Array.from({ length: count }, (_, i) => `{"from":"${name}","n":${i}}`)
const gz = (all: readonly string[]) => gzipSync(all.map((line) => `${line}\n`).join(''))
const odd = { prefix: '/', more: 'decode:\n  line_limit: 4MiB', processing: csvFormat }
const nothing = { lost: [], strange: [], duplicated: 0 }

test('A16.1, A16.5, A16.6, A16.8, A16.11, A16.18: every line of foldered, late, same-second, extension-less, odd and damaged objects arrives, once, under its own content type', async () => {
  const { s3, arrivals, installation, pushed } = await world(odd)
  const objects = oddObjects()
  for (const { key, body } of objects) s3.put(key, body)
  const { code, stderr, stdout } = await installation.run('run', '--once')
  assert.equal(code, 0, stderr + stdout.slice(-2000))
  assert.deepEqual(arrivals.compare(objects.flatMap((object) => object.lines)), nothing)
  for (const { key, lines: own, contentType } of objects) {
    for (const line of own) assert.deepEqual([...(arrivals.types.get(line) ?? [])], [contentType], key)
  }
  const list = await installation.run('quarantine', 'list', '--json')
  const entries = list.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { readonly reason: string; readonly object: { readonly key: string } })
  const damaged = objects.filter(({ quarantined }) => quarantined)
  assert.equal(entries.length, damaged.length, list.stdout)
  for (const { key, quarantined } of damaged) {
    assert.match(entries.find(({ object }) => object.key === key)?.reason ?? '', quarantined as RegExp)
  }
  const state = installation.readState()
  assert.equal(state.total_files_processed, objects.length)
  const { last } = pushed
  const { received: read } = arrivals
  assert.deepEqual(last.balance(), { read, delivered: read, filtered: 0, quarantined: 0 })
  assert.deepEqual(
    ['s3_files_processed_total', 's3_files_errored_total', 'http_lines_sent_total'].map((name) => last.sum(name)),
    [objects.length, damaged.length, read],
  )

  const again = await installation.run('--once')
  assert.equal(again.code, 0)
  assert.equal(arrivals.compare(objects.flatMap((object) => object.lines)).duplicated, 0, 'a second run sends nothing')
})

test('--dry-run tells what would be sent, sends nothing and writes no file', async () => {
  const { s3, inputs, installation } = await world(odd)
  const objects = oddObjects()
  for (const { key, body } of objects) s3.put(key, body)
  const { code, stdout, stderr } = await installation.run('run', '--dry-run')
  assert.equal(code, 0, stderr)
  for (const { key } of objects) assert.ok(stdout.includes(key), key)
  assert.match(stdout, /nothing was sent/i)
  assert.deepEqual(
    inputs.map(({ requests }) => requests),
    [0, 0],
  )
  assert.deepEqual(readdirSync(installation.folder), ['config.yaml'])
})

test('exit codes: 1 if an object may not be read (and the others are), 2 for a wrong file with every problem, 3 for a failed check', async () => {
  const { s3, arrivals, installation, pushed } = await world()
  s3.put(`${day}1760305400_1_1_1.gz`, gz(lines('good', 10)))
  s3.put(`${day}1760305401_1_1_1.gz`, gz(lines('forbidden', 10)))
  s3.faults.onGet = (key) => (key.includes('1760305401') ? s3Errors.accessDenied : undefined)
  const denied = await installation.run('--once')
  assert.equal(denied.code, 1)
  assert.match(denied.stdout, /AccessDenied/)
  const ten = { read: 10, delivered: 10, filtered: 0, quarantined: 0 }
  assert.deepEqual(pushed.last.balance(), ten)
  assert.deepEqual(
    ['done', 'failed'].map((outcome) => pushed.last.sum('objects_total', { outcome })),
    [1, 1],
  )
  assert.equal(pushed.last.sum('s3_streamer_success'), 0)
  assert.deepEqual(arrivals.compare(lines('good', 10)), nothing)
  s3.faults.onGet = undefined
  assert.equal((await installation.run('--once')).code, 0)
  assert.deepEqual(arrivals.compare([...lines('good', 10), ...lines('forbidden', 10)]), nothing)
  assert.deepEqual(pushed.last.balance(), ten)
  assert.equal(pushed.last.sum('s3_streamer_success'), 1)

  const wrong = join(installation.folder, 'wrong.yaml')
  writeFileSync(wrong, 's3:\n  buckt: logs\nhttp:\n  endpoints: []\n  batch_lines: -1\nlogging:\n  level: loud\n')
  const bad = await new Command(['run', '--config', wrong]).ended
  assert.equal(bad.code, 2)
  for (const place of [
    /wrong\.yaml:2:\d+ .*buckt.*bucket/,
    /wrong\.yaml:4:\d+ .*endpoints/,
    /wrong\.yaml:5:\d+ .*batch_lines/,
    /wrong\.yaml:7:\d+ .*level/,
  ]) {
    assert.match(bad.stderr, place)
  }
  assert.equal((await new Command(['run', '--config', join(installation.folder, 'none.yaml')]).ended).code, 2)

  assert.equal((await installation.run('check')).code, 0)
  s3.buckets = new Set(['other'])
  const failed = await installation.run('check')
  assert.equal(failed.code, 3)
  assert.match(failed.stdout, /FAILED .*NoSuchBucket/)
})

test('A16.8: state.json edited back, edited on, and deleted is obeyed', async () => {
  const { s3, arrivals, installation, pushed } = await world()
  const objects = [50, 40, 30].map(recent)
  for (const [i, { key }] of objects.entries()) s3.put(key, gz(lines(`object ${i}`, 5)))
  const newest = objects[2]?.seconds as number
  const edit = (seconds: number) =>
    writeFileSync(
      installation.state,
      JSON.stringify({ ...installation.readState(), last_processed_timestamp: seconds }),
    )
  /** Lines that one more run sends. */
  const sent = async () => {
    const before = arrivals.received
    const { code, stderr, stdout } = await installation.run('--once')
    assert.equal(code, 0, stderr + stdout)
    assert.equal(pushed.last.balance().delivered, arrivals.received - before)
    return arrivals.received - before
  }
  assert.equal(await sent(), 15)
  assert.equal(installation.readState().last_processed_timestamp, newest)
  assert.equal(await sent(), 0)

  edit(objects[1]?.seconds as number)
  assert.equal(await sent(), 10, 'the two objects from that time on come again')
  edit(newest + 600)
  assert.equal(await sent(), 0)
  s3.put(recent(15).key, gz(lines('later', 5)))
  assert.equal(await sent(), 5, 'what is newer than the time is read')
  rmSync(installation.state)
  assert.equal(await sent(), 20, 'from the beginning, all four')
})

test('A16.17: a corrupt state.json is set aside with a clear error, and the next start goes on without loss or repeats', async () => {
  const { s3, arrivals, installation } = await world()
  s3.put(`${day}1760305400_1_1_1.gz`, gz(lines('first', 5)))
  assert.equal((await installation.run('--once')).code, 0)
  for (const content of ['{"last_processed_timestamp": 17', '', '{"last_processed_timestamp":"soon"}']) {
    writeFileSync(installation.state, content)
    const refused = await installation.run('--once')
    assert.equal(refused.code, 1)
    assert.match(refused.stdout + refused.stderr, /set aside as .*corrupt-/)
    assert.ok(!existsSync(installation.state))
    assert.equal((await installation.run('--once')).code, 0)
  }
  const { key, seconds } = recent(20)
  s3.put(key, gz(lines('second', 5)))
  assert.equal((await installation.run('--once')).code, 0)
  assert.deepEqual(arrivals.compare([...lines('first', 5), ...lines('second', 5)]), nothing)
  const aside = readdirSync(installation.folder).filter((name) => name.includes('corrupt-'))
  assert.equal(aside.length, 3)
  assert.ok(readFileSync(installation.state, 'utf8').includes(String(seconds)))
})

test('A16.21: secrets of the file and the environment are in no output', async () => {
  const secret = 'tops3cret-token-value'
  const { s3, inputs, installation } = await world({ http: '  auth:\n    type: bearer\n    token: ${LOG_TOKEN}' })
  s3.put(`${day}1760305400_1_1_1.gz`, gz(lines('x', 5)))
  const env = { LOG_TOKEN: secret, AWS_SECRET_ACCESS_KEY: 'another-s3cret' }
  let seen: string | undefined
  for (const input of inputs) {
    input.fault = (_, { headers }) => {
      seen = headers.authorization
      return undefined
    }
  }
  for (const args of [['run', '--once'], ['check'], ['state', 'show']]) {
    const { code, stdout, stderr } = await installation.start(args, { env }).ended
    assert.equal(code, 0, stderr)
    assert.ok(
      !`${stdout}${stderr}`.includes(secret) && !`${stdout}${stderr}`.includes('another-s3cret'),
      args.join(' '),
    )
  }
  assert.equal(seen, `Bearer ${secret}`)
})

test('it starts by its path, by a link, by this Node, and by an older one', async () => {
  const { s3, arrivals, installation } = await world()
  const link = join(installation.folder, 'streamer')
  symlinkSync(bin, link)
  const commands: Array<readonly string[]> = [[bin], [link], [process.execPath, bin], [process.execPath, link]]
  if (existsSync('/usr/bin/node')) commands.push(['/usr/bin/node', bin])
  const expected: string[] = []
  for (const [i, command] of commands.entries()) {
    s3.put(`${day}${1760305400 + i}_1_1_1.gz`, gz(lines(`start ${i}`, 3)))
    expected.push(...lines(`start ${i}`, 3))
    const { code, stderr } = await installation.start(['run', '--once'], { command }).ended
    assert.equal(code, 0, `${command.join(' ')}: ${stderr}`)
    assert.deepEqual(arrivals.compare(expected), nothing, command.join(' '))
  }
  const version = await new Command(['--version'], { command: [process.execPath, link] }).ended
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/)
})
