import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { startTestbed, type Testbed } from '../../test/servers/testbed.ts'
import type { Snapshot } from '../console/snapshot.ts'

/** A streamer that runs until it is disposed of, once `isReached` is true of what it tells. */
async function running(bed: Testbed, isReached: (snapshot: Snapshot) => boolean = () => true) {
  const soft = new AbortController()
  const ended = bed.run(['run'], { soft: soft.signal, hard: soft.signal })
  for (;;) {
    const { code, out } = await bed.run(['status', '--json'])
    if (code === 0 && out.includes('"url"') && isReached(JSON.parse(out) as Snapshot)) break
    await sleep(20)
  }
  return {
    async [Symbol.asyncDispose]() {
      soft.abort()
      await ended
    },
  }
}

const hasDelivered = ({ pipelines }: Snapshot) => pipelines[0]?.counts.delivered === 2

const any = 'health: { address: "localhost:0" }\n'

test('status shows what the running streamer does, wherever it listens: the sentence, counts that balance, the last runs', async () => {
  await using bed = await startTestbed()
  bed.write(any)
  bed.s3.put('web/a.gz', gzipSync('one\ntwo\n'))
  await using _ = await running(bed, hasDelivered)
  const { code, out, err } = await bed.run(['status'])
  assert.deepEqual([code, err], [0, ''])
  assert.match(out, /^s3-streamer \S+ on \S+ · process \d+, up /)
  assert.match(out, /\nAll well · 2 records read, all accounted for\.\n/)
  assert.match(out, / · running · s3_scan s3:\/\/logs\/web\/ → edgedelta http:/)
  assert.match(out, /\n {2}counts +2 read = 2 delivered \+ 0 filtered \+ 0 quarantined\n/)
  assert.match(out, /\nlast runs\n {2}\S+Z {2}#1 \(daemon\) running for /)
  assert.doesNotMatch(out, /undefined|NaN|\p{Cc}\[/u)
})

test('status --json is the snapshot of the streamer', async () => {
  await using bed = await startTestbed()
  bed.write(any)
  bed.s3.put('web/a.gz', gzipSync('one\ntwo\n'))
  await using _ = await running(bed, hasDelivered)
  const { out } = await bed.run(['status', '--json'])
  const { running: isRunning, url, pid, pipelines } = JSON.parse(out) as Snapshot & { running: boolean; url: string }
  assert.deepEqual([isRunning, pid], [true, process.pid])
  assert.match(url, /^http:\/\/localhost:\d+$/)
  assert.equal(pipelines[0]?.counts.delivered, 2)
})

test('status of a receiver that refuses says which, and why, before everything else', async () => {
  await using bed = await startTestbed()
  bed.write(any)
  bed.s3.put('web/a.gz', gzipSync('one\n'))
  bed.input.fault = () => ({ status: 401, body: 'who are you' })
  await using _ = await running(bed, ({ pipelines }) =>
    pipelines.some(({ dependencies }) => dependencies.some(({ of, state }) => of === 'sink' && state !== 'unused')),
  )
  const { code, out } = await bed.run(['status'])
  assert.equal(code, 0)
  assert.match(out, /^.*\n(?!All well).*\n {2}[✖!] http http:\S+ is \w+: answered 401: who are you\n/)
  assert.match(out, /\n {2}(paused|failing) +http http:\S+ for .*: answered 401: who are you\n/)
})

test('without a running streamer status tells what the ledger knows, and exits with 3', async () => {
  await using bed = await startTestbed()
  bed.write(any)
  const never = await bed.run(['status'])
  assert.equal(never.code, 3)
  assert.match(never.out, /: not running\n {2}last run +none yet\n/)
  bed.s3.put('web/a.gz', gzipSync('one\ntwo\n'))
  bed.s3.put('web/cold.gz', gzipSync('x\n'), { storageClass: 'GLACIER' })
  await bed.run(['run', '--once'])
  const { code, out } = await bed.run(['status'])
  assert.equal(code, 3)
  assert.match(out, /not running\n {2}last run +\S+Z {2}#1 \(once\) done after .*, 2 records\n/)
  assert.match(out, /\n {2}quarantine +1 entry: see/)
  const json = await bed.run(['status', '--json'])
  const facts = JSON.parse(json.out) as { running: boolean; quarantine: number; lastRun: { outcome: string } }
  assert.deepEqual([json.code, facts.running, facts.quarantine, facts.lastRun.outcome], [3, false, 1, 'done'])
})

test('the last run of a stopped streamer is that of the process, whatever it replayed', async () => {
  await using bed = await startTestbed()
  bed.write(any)
  bed.s3.put('web/a.gz', gzipSync('one\ntwo\n'))
  await bed.run(['run', '--once'])
  await bed.run(['replay', '--from', '2h', '--yes'])
  await bed.run(['run', '--once'])
  assert.match((await bed.run(['history'])).out, /#3 \(replay\)/)
  assert.match((await bed.run(['status'])).out, /\n {2}last run +\S+Z {2}#2 \(once\) done after /)
})

test('another streamer on the usual port is not taken for ours; nor is any other program', async () => {
  await using bed = await startTestbed()
  await using other = await startTestbed()
  other.write(any)
  await using _ = await running(other)
  const { url } = JSON.parse((await other.run(['status', '--json'])).out) as { url: string }
  bed.write(`health: { address: "${url.slice('http://'.length)}" }\n`)
  assert.equal((await bed.run(['status'])).code, 3)
  const program = createServer((_, response) => response.end('<html>hello</html>'))
  await new Promise<void>((resolve) => program.listen(0, '127.0.0.1', resolve))
  bed.write(`health: { address: "127.0.0.1:${(program.address() as AddressInfo).port}" }\n`)
  assert.equal((await bed.run(['status'])).code, 3)
  program.close()
  program.closeAllConnections()
})

test('status --watch draws over what it drew, goes on while the streamer is away, and ends with 0', async () => {
  await using bed = await startTestbed()
  bed.write(any)
  const soft = new AbortController()
  let out = ''
  const { promise: isAway, resolve: sawAway } = Promise.withResolvers<void>()
  const { promise: isThere, resolve: sawThere } = Promise.withResolvers<void>()
  const stdout = (text: string | Buffer) => {
    out += text.toString()
    if (/no streamer answers/.test(out)) sawAway()
    if (/All well/.test(out)) sawThere()
  }
  const watching = bed.run(['status', '--watch'], {
    soft: soft.signal,
    stdout,
    screen: () => ({ columns: 80, rows: 6 }),
  })
  await isAway
  {
    await using _ = await running(bed)
    await isThere
  }
  soft.abort()
  assert.equal((await watching).code, 0)
  const drawn = out.replaceAll('\x1b', '^')
  assert.match(drawn, /^\^\[\?1049h\^\[\?25l\^\[\?7l\^\[H.*no streamer answers/)
  assert.match(drawn, /\^\[H[^\n]*s3-streamer .*\^\[K\n[^\n]*All well.*\^\[K\n/)
  assert.match(drawn, /… \d+ more lines\^\[K\^\[J/)
  assert.ok(out.endsWith('\x1b[?7h\x1b[?25h\x1b[?1049l'))
})

test('more than a few pipelines are a line each', async () => {
  await using bed = await startTestbed()
  const pipeline = (name: string) => `  - name: ${name}
    source: { type: s3_scan, bucket: logs, prefix: web/, region: us-east-1, endpoint: "${bed.s3.endpoint}" }
    sink: { type: edgedelta, endpoints: ["${bed.input.url}"] }
    state: { file_path: "${join(bed.folder, name)}.json" }
`
  writeFileSync(bed.config, `${any}pipelines:\n${['a', 'b', 'c', 'd', 'e'].map(pipeline).join('')}`)
  await using _ = await running(bed, ({ pipelines }) => pipelines.every(({ state }) => state === 'running'))
  const { out } = await bed.run(['status'])
  assert.match(out, /\npipeline +state +records\/s .* quarantined\na +running +0 /)
  const one = await bed.run(['status', '--pipeline', 'e'])
  assert.match(one.out, /\ne · running · s3_scan/)
  assert.doesNotMatch(one.out, /\na /)
})
