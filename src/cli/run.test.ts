import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { startTestbed, type Testbed } from '../../test/servers/testbed.ts'

const text = { S3_STREAMER_LOGGING_FORMAT: 'text' }

function fill(bed: Testbed): void {
  for (let i = 0; i < 5; i += 1) bed.s3.put(`web/${i}.log.gz`, gzipSync(`a${i}\nb${i}\n`))
  const whole = gzipSync('line\n'.repeat(3000))
  bed.s3.put('web/cut.log.gz', whole.subarray(0, whole.length - 12))
}

test('run --once delivers everything and ends with 0, with a summary of the scan and of the run', async () => {
  await using bed = await startTestbed()
  fill(bed)
  const { code, out, err } = await bed.run(['run', '--once'], { env: text })
  assert.equal(code, 0)
  assert.equal(err, '')
  for (let i = 0; i < 5; i += 1) assert.ok(bed.input.lines.includes(`b${i}`))
  assert.match(
    out,
    /INFO {2}pipeline s3-to-edgedelta starts, for one scan · source s3_scan s3:\/\/logs\/web\/ · sink edgedelta /,
  )
  assert.match(out, /INFO {2}scan: 6 new of 6 objects/)
  assert.match(out, /ERROR object in quarantine; .*: web\/cut\.log\.gz: gzip data ends in the middle/)
  assert.match(
    out,
    /INFO {2}finished · objects: 5 done, 1 quarantined · records: [\d,]+ read, [\d,]+ delivered · .*B · .* s · rate .*\/s\n$/,
  )
  assert.doesNotMatch(out, /DEBUG|hunter2/)
  const second = await bed.run(['--once'], { env: text })
  assert.equal(second.code, 0)
  assert.match(second.out, /finished; there was no object to read · .* s\n$/)
})

test('debug has a line for each object, and json is one object a line', async () => {
  await using bed = await startTestbed()
  fill(bed)
  const { out } = await bed.run(['run', '--once'], { env: { S3_STREAMER_LOGGING_LEVEL: 'debug' } })
  const entries = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  const done = entries.filter(({ level, msg }) => level === 'debug' && msg === 'object done').map(({ key }) => key)
  assert.deepEqual(
    done.sort(),
    [0, 1, 2, 3, 4].map((i) => `web/${i}.log.gz`),
  )
})

test('an object that fails makes run --once end with 1', async () => {
  await using bed = await startTestbed()
  bed.s3.put('web/a.log', 'one\n')
  bed.s3.faults.onGet = () => ({ status: 403, code: 'AccessDenied', message: 'no' })
  const { code, out } = await bed.run(['run', '--once'], { env: text })
  assert.equal(code, 1)
  assert.match(out, /ERROR object failed.*AccessDenied/)
})

test('a bucket that refuses ends the start with 1 and says why', async () => {
  await using bed = await startTestbed()
  bed.s3.buckets = new Set(['other'])
  const { code, out } = await bed.run([], { env: text })
  assert.equal(code, 1)
  assert.match(out, /ERROR .*cannot list s3:\/\/logs\/web\/.*NoSuchBucket/)
})

test('a run stops on the first signal, and says what came of it', async () => {
  await using bed = await startTestbed()
  fill(bed)
  const soft = new AbortController()
  let seen = ''
  const { code } = await bed.run([], {
    env: text,
    soft: soft.signal,
    stdout: (line) => {
      seen += line.toString()
      if (seen.includes('INFO  scan:')) setImmediate(() => soft.abort())
    },
  })
  assert.equal(code, 0)
  assert.match(seen, /stopping: no new objects.*· deadline 30 s/)
  assert.match(seen, /INFO {2}stopped/)
})

test('a second process on the same state is refused with 1', async () => {
  await using bed = await startTestbed()
  const soft = new AbortController()
  let refused: Awaited<ReturnType<Testbed['run']>> | undefined
  let asked = false
  const first = await bed.run([], {
    env: text,
    soft: soft.signal,
    stdout: (line) => {
      if (asked || !line.toString().includes('INFO  scan:')) return
      asked = true
      void bed.run(['run', '--once'], { env: text }).then((answer) => {
        refused = answer
        soft.abort()
      })
    },
  })
  assert.equal(first.code, 0)
  assert.equal(refused?.code, 1)
  assert.match(refused?.out ?? '', /another s3-streamer works on .*stop it.*· code ledger\.locked/)
})

test('run --dry-run tells each object on a line, sends nothing and writes nothing', async () => {
  await using bed = await startTestbed()
  fill(bed)
  bed.s3.put('web/year=2025/month=10/day=12/1760305292_56442_130_1.gz', gzipSync('{"a":1}\n'))
  const { code, out, err } = await bed.run(['run', '--dry-run'])
  assert.equal(code, 0)
  assert.equal(err, '')
  const lines = out.split('\n')
  assert.match(lines[0] ?? '', /^# s3-to-edgedelta: from s3_scan s3:\/\/logs\/web\/ to edgedelta http:/)
  assert.ok(
    lines.some((line) => /^ +2 +6 B +\S+Z +gzip +\? +web\/3\.log\.gz$/.test(line)),
    out,
  )
  assert.ok(
    lines.some((line) => /^ +1 +8 B +2025-10-12T21:41:32Z +gzip +zscaler +web\/year=2025/.test(line)),
    out,
  )
  assert.ok(
    lines.some((line) => /^ +quarantined: gzip data ends in the middle/.test(line)),
    out,
  )
  assert.match(
    out,
    /Would send [\d,]+ records .* of 7 objects in \d+ batches\. 1 object quarantined\. 6 with "\?".* Nothing was sent, nothing was changed\.\n$/,
  )
  assert.deepEqual(readdirSync(bed.folder), ['config.yaml'])
  assert.equal(bed.input.accepted.length, 0)
})

test('a dry run ends when nobody reads it any more', async () => {
  await using bed = await startTestbed()
  for (let i = 0; i < 400; i += 1) bed.s3.put(`web/${String(i).padStart(4, '0')}.log`, 'x\n')
  const unread = new AbortController()
  let out = ''
  const { code } = await bed.run(['run', '--dry-run'], {
    unread: unread.signal,
    stdout: (line) => {
      out += line.toString()
      if (out.split('\n').length > 5) unread.abort()
    },
  })
  assert.equal(code, 0)
  assert.ok(bed.s3.counters.get < 400, `${bed.s3.counters.get} objects were read`)
})

test('in a terminal, run --once draws its progress on standard error and takes it away at the end', async () => {
  await using bed = await startTestbed()
  fill(bed)
  bed.s3.faults.onGet = () => ({ delayMs: 300 })
  const { code, err } = await bed.run(['run', '--once'], { env: text, terminal: true })
  assert.equal(code, 0)
  assert.match(err, /\d\/6\+? objects/)
  assert.ok(err.endsWith('\r\u001b[K'))
})
