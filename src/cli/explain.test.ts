import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { runProgram, startTestbed } from '../../test/servers/testbed.ts'

const key = 'web/year=2025/month=10/day=12/1760305292_56442_130_1.gz'

test('an object is explained: compression, format, time, records, ledger, destination', async () => {
  await using bed = await startTestbed()
  bed.s3.put(key, gzipSync('{"a":1}\n{"a":2}\n'))
  const { code, out, err } = await bed.run(['explain', key])
  assert.equal(err, '')
  assert.equal(code, 0)
  const facts = Object.fromEntries(
    out
      .trimEnd()
      .split('\n')
      .map((line) => [line.slice(0, 13).trim(), line.slice(13)]),
  )
  assert.match(facts.object ?? '', new RegExp(`^s3://logs/${key} `))
  assert.equal(facts.compression, 'gzip')
  assert.equal(facts.format, 'zscaler (by its name)')
  assert.equal(facts.time, '2025-10-12T21:41:32Z (from its name)')
  assert.equal(facts['first record'], '{"a":1}')
  assert.equal(facts.records, '2, 16 B')
  assert.equal(facts.ledger, 'not read yet')
  assert.match(facts['goes to'] ?? '', /^edgedelta http:/)
  await bed.run(['run', '--once'])
  assert.match((await bed.run(['explain', `s3://logs/${key}`])).out, /ledger +done: 2 records delivered\n/)
})

test('what would end in quarantine is told, with what comes before', async () => {
  await using bed = await startTestbed()
  const whole = gzipSync('line\n'.repeat(3000))
  bed.s3.put('web/cut.gz', whole.subarray(0, whole.length - 12))
  bed.s3.put('web/cold.gz', whole, { storageClass: 'GLACIER' })
  const cut = await bed.run(['explain', 'web/cut.gz'])
  assert.equal(cut.code, 0)
  assert.match(
    cut.out,
    /first record line\nrecords +[\d,]+, .*\nand then +gzip data ends in the middle.*: quarantine\n/,
  )
  const cold = await bed.run(['explain', 'web/cold.gz'])
  assert.equal(cold.code, 0)
  assert.match(cold.out, /cannot read +.*Glacier.*: quarantine\nledger +not read yet\n/)
})

test('a key that is not there ends with 1 and a hint at the prefix', async () => {
  await using bed = await startTestbed()
  const { code, err } = await bed.run(['explain', 'nokey'])
  assert.equal(code, 1)
  assert.match(err, /no object s3:\/\/logs\/nokey.*keys of pipeline s3-to-edgedelta begin with "web\/"/)
})

test('an object outside of the prefix is explained, and it is said that it is not read', async () => {
  await using bed = await startTestbed()
  bed.s3.put('other/a.log', 'x\n')
  assert.match((await bed.run(['explain', 'other/a.log'])).out, /ledger +not read yet; .*outside of prefix "web\/"/)
})

test('other buckets, buckets without a key, and folders are refused with 2', async () => {
  await using bed = await startTestbed()
  mkdirSync(join(bed.folder, 'dir'))
  for (const [target, message] of [
    ['s3://other/x', /no pipeline reads s3:\/\/other; there is: s3_scan s3:\/\/logs\/web\//],
    ['s3://logs', /names no object/],
    ['s3://logs/', /names no object/],
    [join(bed.folder, 'dir'), /is a folder/],
  ] as const) {
    const { code, err } = await bed.run(['explain', target])
    assert.equal(code, 2)
    assert.match(err, message)
  }
})

test('a local file needs no configuration', async () => {
  await using bed = await startTestbed()
  const path = join(bed.folder, 'local.log.gz')
  writeFileSync(path, gzipSync('one\ntwo\n'))
  const { code, out } = await runProgram(['explain', path])
  assert.equal(code, 0)
  assert.match(out, /compression +gzip\n[\s\S]*records +2, 8 B\n$/)
})

test('a binary file does not disturb the terminal', async () => {
  await using bed = await startTestbed()
  const path = join(bed.folder, 'binary')
  writeFileSync(path, Buffer.from('\u001b]0;title\u0007\u001b[2Jx\u0000', 'latin1'))
  const { code, out } = await runProgram(['explain', path])
  assert.equal(code, 0)
  assert.match(out, /first record \\x1b\]0;title\\x07/)
  assert.ok(!out.includes('\u001b'))
})

test('of several pipelines the one that lists the bucket explains its objects, not one that is told of objects in any', async () => {
  await using bed = await startTestbed()
  bed.s3.put('a.log', 'one\n')
  const s3 = `region: us-east-1, endpoint: "${bed.s3.endpoint}"`
  writeFileSync(
    bed.config,
    `pipelines:
  - { name: told, source: { type: s3_sqs, queue_url: "http://127.0.0.1:1/1/q", ${s3} }, sink: { type: stdout }, state: { file_path: "${join(bed.folder, 'a.json')}" } }
  - { name: lists, source: { type: s3_scan, bucket: logs, ${s3}, force_path_style: true }, sink: { type: http, endpoints: ["${bed.input.url}"] }, state: { file_path: "${join(bed.folder, 'b.json')}" } }
`,
  )
  const { out, err } = await bed.run(['explain', 's3://logs/a.log'])
  assert.equal(err, '')
  assert.match(out, /goes to +http http:/)
})
