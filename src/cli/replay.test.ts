import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { startTestbed, type Testbed } from '../../test/servers/testbed.ts'

const hourMs = 3_600_000

/** Objects of the last hours, delivered before. */
async function delivered(bed: Testbed): Promise<void> {
  for (const name of ['a', 'b', 'c']) bed.s3.put(`web/${name}.log`, `one of ${name}\n`)
  bed.s3.put('web/other/d.log', 'one of d\n')
  assert.equal((await bed.run(['run', '--once'])).code, 0)
  assert.equal(bed.input.lines.length, 4)
}

test('replay tells what it would read, asks, and the next run sends it again and says so in list and history', async () => {
  await using bed = await startTestbed()
  await delivered(bed)
  const asked: string[] = []
  const ask = async (question: string) => {
    asked.push(question)
    return 'y'
  }
  const { code, out } = await bed.run(['replay', '--from', '1h', '--prefix', 'web/other/'], { ask })
  assert.equal(code, 0)
  assert.match(
    out,
    /range +from \S+Z to \S+Z, keys beginning with web\/other\/\nobjects +1, 9 B as stored\nfirst .*d\.log\n/,
  )
  assert.match(out, /replay 1 is written down; no streamer runs: the next start does it/)
  assert.match(asked[0] ?? '', /1 object is sent again/)
  assert.match((await bed.run(['replay', 'list'])).out, / 1 +waiting .*web\/other\/\n +0 of 1 object,/)
  assert.equal((await bed.run(['run', '--once'])).code, 0)
  assert.deepEqual(bed.input.lines.slice(4), ['one of d'])
  const listed = JSON.parse((await bed.run(['replay', 'list', '--json'])).out) as Record<string, unknown>
  assert.deepEqual([listed.state, listed.done], ['done', { objects: 1, bytes: 9, failed: 0 }])
  assert.match((await bed.run(['history'])).out, /\(replay\) 1 done\n +replay 1\n/)
  await bed.run(['run', '--once'])
  assert.equal(bed.input.lines.length, 5, 'once')
})

test('replay --dry-run shows the first objects and writes nothing, with or without a state', async () => {
  await using bed = await startTestbed()
  bed.s3.put('web/a.log', 'x\n', { lastModified: new Date(Date.now() - 60_000) })
  const { code, out } = await bed.run(['replay', '--from', '1h', '--dry-run'])
  assert.equal(code, 0)
  assert.match(out, /objects +1, 2 B as stored\n(.*\n)*as in\n +\S+Z +2 B {2}web\/a\.log\nNothing was changed\.\n/)
  assert.ok(!existsSync(join(bed.folder, 'state.db')))
  const facts = JSON.parse((await bed.run(['replay', '--from', '1h', '--dry-run', '--json'])).out) as object
  assert.ok('seconds' in facts)
  assert.ok(!existsSync(join(bed.folder, 'state.db')))
})

test('replay refuses what makes no sense, and says what to write', async () => {
  await using bed = await startTestbed()
  const day = '2025-10-12'
  const later = new Date(Date.now() + hourMs).toISOString()
  for (const [argv, text] of [
    [[], /say from which time on/],
    [['--from', 'yesterday'], /--from "yesterday" is no time: write it like/],
    [['--from', day, '--to', 'x'], /--to "x" is no time/],
    [['--from', day, '--to', day], /ends before it begins/],
    [['--from', '1h', '--to', '2h'], /ends before it begins/],
    [['--from', later, '--to', '2100-01-01'], /lies in the future/],
    [['--from', day, '--rate', 'fast'], /--rate "fast" is no rate/],
    [['--from', day, '--rate', '10'], /1KiB is the least/],
  ] as const) {
    const { code, err } = await bed.run(['replay', ...argv])
    assert.equal(code, 2, argv.join(' '))
    assert.match(err, text)
  }
  const elsewhere = await bed.run(['replay', '--from', day, '--prefix', 'elsewhere/'])
  assert.equal(elsewhere.code, 1)
  assert.match(
    elsewhere.err,
    /cannot replay keys that begin with "elsewhere\/": this pipeline reads s3:\/\/logs\/web\//,
  )
  const none = await bed.run(['replay', '--from', day, '--to', '2025-10-13'])
  assert.equal(none.code, 0)
  assert.match(none.out, /objects +none/)
})

test('without a person to ask, --yes is needed; a no changes nothing', async () => {
  await using bed = await startTestbed()
  await delivered(bed)
  const { code, err } = await bed.run(['replay', '--from', '1h'])
  assert.equal(code, 2)
  assert.match(err, /4 objects are sent again: add --yes/)
  const no = await bed.run(['replay', '--from', '1h'], { ask: async () => '' })
  assert.deepEqual([no.code, no.err], [1, 'nothing was changed\n'])
  assert.match((await bed.run(['replay', 'list'])).out, /^no replay\n$/)
  const yes = await bed.run(['replay', '--from', '1h', '--yes', '--rate', '5MiB/s', '--json'])
  const facts = JSON.parse(yes.out) as Record<string, unknown>
  assert.deepEqual([facts.replay, facts.objects, facts.bytesPerSecond, facts.running], [1, 4, 5 * 2 ** 20, false])
})

test('replay cancel ends a replay that waits; what is over, or unknown, is said to be', async () => {
  await using bed = await startTestbed()
  await delivered(bed)
  await bed.run(['replay', '--from', '1h', '--yes'])
  const { code, out } = await bed.run(['replay', 'cancel', '1'])
  assert.equal(code, 0)
  assert.match(out, /replay 1 is cancelled/)
  const again = await bed.run(['replay', 'cancel', '1'])
  assert.deepEqual([again.code, again.err], [1, 'replay 1 is over: cancelled\n'])
  assert.match((await bed.run(['replay', 'cancel', '7'])).err, /there is no replay 7/)
  assert.equal((await bed.run(['replay', 'cancel', 'x'])).code, 2)
  await bed.run(['run', '--once'])
  assert.equal(bed.input.lines.length, 4)
})

test('files that were copied are copied again, with their counts as before', async () => {
  await using bed = await startTestbed()
  const files = join(bed.folder, 'files')
  mkdirSync(files)
  for (const name of ['a', 'b']) writeFileSync(join(files, name), `content of ${name}`)
  const s3 = `{ type: s3, bucket: copies, key: "{path}", region: us-east-1, endpoint: "${bed.s3.endpoint}" }`
  writeFileSync(
    bed.config,
    `pipelines:\n  - { name: copy, source: { type: directory, path: "${files}" }, sink: ${s3}, state: { file_path: "${join(bed.folder, 's.json')}" } }\n`,
  )
  assert.equal((await bed.run(['run', '--once'])).code, 0)
  const puts = bed.s3.counters.put
  assert.equal((await bed.run(['replay', '--from', '1h', '--yes'])).code, 0)
  assert.equal((await bed.run(['run', '--once'])).code, 0)
  assert.equal(bed.s3.counters.put, puts + 2)
  const state = JSON.parse(readFileSync(join(bed.folder, 's.json'), 'utf8')) as Record<string, unknown>
  assert.deepEqual([state.total_files_processed, state.total_bytes_processed], [2, 24])
  assert.equal((await bed.run(['run', '--once'])).code, 0)
  assert.equal(bed.s3.counters.put, puts + 2)
})
