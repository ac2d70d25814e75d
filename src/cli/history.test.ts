import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { startTestbed } from '../../test/servers/testbed.ts'

const rows = (out: string) =>
  out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)

test('the last runs and objects are told, with times, counts and errors', async () => {
  await using bed = await startTestbed()
  assert.match((await bed.run(['history'])).out, /^no run\n$/)
  bed.s3.put('web/good.log', '{"a":1}\n{"a":2}\n{"a":3}\n')
  bed.s3.put('web/cut.gz', gzipSync('one\ntwo\n'.repeat(500)).subarray(0, 40))
  assert.equal((await bed.run(['run', '--once'])).code, 0)
  const runs = await bed.run(['history'])
  assert.match(runs.out, /^started +outcome +took +read +delivered +filtered +quarantined +bytes +run, objects\n/)
  assert.match(runs.out, /\d{4}-\d\d-\d\dT\S+Z +done +\d.* #1 \(once\) 1 done, 1 quarantined\n/)
  const [run] = rows((await bed.run(['history', '--json'])).out)
  const { read, delivered, quarantined } = (run?.counts ?? {}) as Record<string, number>
  assert.ok(delivered && delivered >= 3)
  assert.deepEqual([read, quarantined, run?.outcome, run?.mode], [delivered, 0, 'done', 'once'])
  const objects = await bed.run(['history', '--objects'])
  assert.match(objects.out, /quarantined .* 1 +s3:\/\/logs\/web\/cut\.gz\n +.*ends in the middle/)
  const [good, ...others] = rows((await bed.run(['history', '--objects', '--json', '--outcome', 'done'])).out)
  assert.deepEqual([good?.key, good?.attempts, others], ['web/good.log', 1, []])
})

test('runs are picked by outcome, time and number', async () => {
  await using bed = await startTestbed()
  for (let i = 0; i < 3; i += 1) await bed.run(['run', '--once'])
  assert.equal(rows((await bed.run(['history', '--json', '--limit', '2'])).out).length, 2)
  assert.match((await bed.run(['history', '--outcome', 'failed'])).out, /^no run\n$/)
  assert.match((await bed.run(['history', '--until', '2020-01-01'])).out, /^no run\n$/)
  assert.equal(rows((await bed.run(['history', '--json', '--since', '2020-01-01T00:00:00Z'])).out).length, 3)
})

test('a mistake in a flag is told, with what would be right', async () => {
  await using bed = await startTestbed()
  const outcome = await bed.run(['history', '--outcome', 'lost'])
  assert.deepEqual(
    [outcome.code, outcome.err],
    [2, '"lost" is no outcome of a run: there is running, done, stopped, failed, killed\n'],
  )
  const time = await bed.run(['history', '--since', 'yesterday'])
  assert.equal(time.code, 2)
  assert.match(time.err, /--since "yesterday" is no time/)
  assert.equal((await bed.run(['history', '--limit', '0'])).code, 2)
})

test('objects are picked by time and number, newest first', async () => {
  await using bed = await startTestbed()
  for (let i = 0; i < 3; i += 1) {
    bed.s3.put(`web/${i}.log`, 'one\n')
    await bed.run(['run', '--once'])
  }
  const objects = async (...flags: string[]) =>
    rows((await bed.run(['history', '--objects', '--json', ...flags])).out).map(({ key }) => key)
  assert.deepEqual(await objects('--limit', '2'), ['web/2.log', 'web/1.log'])
  assert.equal((await objects('--since', '2020-01-01')).length, 3)
  assert.match((await bed.run(['history', '--objects', '--until', '2020-01-01'])).out, /^no object\n$/)
})
