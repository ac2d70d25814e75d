import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { startTestbed, type Testbed } from '../../test/servers/testbed.ts'

/** One object that cannot be read to its end, and one whose records are refused. */
async function fill(bed: Testbed): Promise<void> {
  bed.s3.put('web/cold.gz', gzipSync('x\n'), { storageClass: 'GLACIER' })
  bed.s3.put('web/odd.log', Buffer.from('f\xfcr\nzwei\n', 'latin1'))
  bed.input.fault = () => ({ status: 400, body: 'bad record' })
  await bed.run(['run', '--once'])
  bed.input.fault = () => undefined
}

/** Number of the entry of this kind. */
async function idOf(bed: Testbed, kind: string): Promise<string> {
  const { out } = await bed.run(['quarantine', 'list', '--json'])
  const entries = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { id: number; kind: string })
  return String(entries.find((entry) => entry.kind === kind)?.id)
}

test('an empty quarantine says so', async () => {
  await using bed = await startTestbed()
  assert.deepEqual(await bed.run(['quarantine', 'list']), { code: 0, out: 'quarantine is empty\n', err: '' })
  assert.deepEqual(await bed.run(['quarantine', 'list', '--json']), { code: 0, out: '', err: '' })
  assert.equal((await bed.run(['quarantine', 'requeue', '--all'])).code, 0)
  const { code, err } = await bed.run(['quarantine', 'show', '999'])
  assert.equal(code, 1)
  assert.match(err, /there is no entry 999 .*quarantine list/)
})

test('list and show tell object, place and reason; the name is not repeated', async () => {
  await using bed = await startTestbed()
  await fill(bed)
  const { code, out } = await bed.run(['quarantine', 'list'])
  assert.equal(code, 0)
  assert.match(out, / object +s3:\/\/logs\/web\/cold\.gz\n {7}cannot read it: 403 InvalidObjectState/)
  assert.match(out, / 2 records +s3:\/\/logs\/web\/odd\.log\n {7}http:\S+ answered 400: bad record\n/)
  const shown = await bed.run(['quarantine', 'show', await idOf(bed, 'records')])
  assert.match(shown.out, /where +records 0 to 1 of the object.*\nreason +.*bad record\nfirst +f\ufffdr\n/)
  assert.match(
    (await bed.run(['quarantine', 'show', await idOf(bed, 'object')])).out,
    /where +nothing of it could be read\n/,
  )
})

test('show --records gives the bytes as they were', async () => {
  await using bed = await startTestbed()
  await fill(bed)
  const written: Array<string | Buffer> = []
  const id = await idOf(bed, 'records')
  await bed.run(['quarantine', 'show', id, '--records'], { stdout: (bytes) => written.push(bytes) })
  assert.deepEqual(Buffer.concat(written.map((part) => Buffer.from(part))), Buffer.from('f\xfcr\nzwei\n', 'latin1'))
  const object = await bed.run(['quarantine', 'show', await idOf(bed, 'object'), '--records'])
  assert.equal(object.out, '')
  assert.match(object.err, /whole object/)
})

test('requeue by number delivers the records at the next run; unknown numbers are told', async () => {
  await using bed = await startTestbed()
  await fill(bed)
  const id = await idOf(bed, 'records')
  const { code, out, err } = await bed.run(['quarantine', 'requeue', id, '777'])
  assert.equal(code, 1)
  assert.match(out, /^1 entry is tried again/)
  assert.match(err, /no entry 777/)
  assert.match((await bed.run(['quarantine', 'list'])).out, /odd\.log {2}\(to be tried again\)/)
  assert.equal((await bed.run(['run', '--once'])).code, 0)
  assert.ok(bed.input.lines.includes('zwei'))
  assert.doesNotMatch((await bed.run(['quarantine', 'list'])).out, /odd\.log/)
})

test('with several pipelines, numbers need --pipeline', async () => {
  await using bed = await startTestbed()
  const pipeline = (name: string) => `  - name: ${name}
    source: { type: s3_scan, bucket: logs, prefix: web/, region: us-east-1, endpoint: "${bed.s3.endpoint}" }
    sink: { type: edgedelta, endpoints: ["${bed.input.url}"] }
    state: { file_path: "${join(bed.folder, name)}.json" }
`
  writeFileSync(bed.config, `pipelines:\n${pipeline('one')}${pipeline('two')}`)
  await fill(bed)
  const list = await bed.run(['quarantine', 'list'])
  assert.match(list.out, /^# one\n[\s\S]+\n# two\n/)
  for (const words of [
    ['show', '1'],
    ['requeue', '1'],
    ['drop', '1', '--yes'],
  ]) {
    const { code, err } = await bed.run(['quarantine', ...words])
    assert.equal(code, 2)
    assert.match(err, /--pipeline \(one, two\)/)
    assert.equal((await bed.run(['quarantine', ...words, '--pipeline', 'two'])).code, 0)
  }
})

test('drop asks, says what is lost, and forgets what was named; the object is not tried again', async () => {
  await using bed = await startTestbed()
  await fill(bed)
  const ids = [await idOf(bed, 'records'), await idOf(bed, 'object')]
  const alone = await bed.run(['quarantine', 'drop', ...ids])
  assert.equal(alone.code, 2)
  assert.match(
    alone.err,
    /forgets 2 entries of the quarantine: 2 refused records, of which .*; that 1 object could not .*--yes/,
  )
  const no = await bed.run(['quarantine', 'drop', ...ids], { ask: async () => 'n' })
  assert.deepEqual([no.code, no.out], [1, ''])
  assert.match(no.err, /cold\.gz\n[\s\S]*nothing was changed\n$/)
  const yes = await bed.run(['quarantine', 'drop', ...ids, '999'], { ask: async () => 'y' })
  assert.deepEqual([yes.code, yes.out], [1, '2 entries were dropped\n'])
  assert.match(yes.err, /no entry 999/)
  assert.equal((await bed.run(['quarantine', 'list'])).out, 'quarantine is empty\n')
  const before = bed.input.lines.length
  assert.equal((await bed.run(['run', '--once'])).code, 0)
  assert.equal(bed.input.lines.length, before)
})

test('drop of what was requeued takes that back; unknown numbers alone change nothing', async () => {
  await using bed = await startTestbed()
  await fill(bed)
  const id = await idOf(bed, 'object')
  await bed.run(['quarantine', 'requeue', id])
  const { code, out } = await bed.run(['quarantine', 'drop', id, '--yes'])
  assert.deepEqual([code, out], [0, '1 entry was dropped\n'])
  assert.equal((await bed.run(['run', '--once'])).code, 0)
  assert.doesNotMatch((await bed.run(['quarantine', 'list'])).out, /cold/)
  assert.equal((await bed.run(['quarantine', 'drop', '999', '--yes'])).code, 1)
})
