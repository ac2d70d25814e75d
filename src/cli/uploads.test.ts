import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { CreateMultipartUploadCommand } from '@aws-sdk/client-s3'
import { bodyOf } from '../../test/fakes/copy.ts'
import { type CopyBed, startCopyBed } from '../../test/servers/copy-bed.ts'
import { runProgram } from '../../test/servers/testbed.ts'
import { createS3Client } from '../aws/connection.ts'

/** A pipeline that copies a folder, interrupted in the middle of its only file. */
async function interrupted(bed: CopyBed): Promise<(args: readonly string[]) => ReturnType<typeof runProgram>> {
  const config = join(bed.folder, 'config.yaml')
  mkdirSync(join(bed.folder, 'in'))
  writeFileSync(join(bed.folder, 'in', 'large'), bodyOf(30 * 2 ** 20))
  writeFileSync(
    config,
    `pipelines:
  - name: files
    source: { type: directory, path: "${join(bed.folder, 'in')}" }
    sink: { type: s3, bucket: data, key: "in/{path}", part_size: 5MiB, read_concurrency: 1, upload_concurrency: 1, endpoint: "${bed.s3.endpoint}" }
    state: { file_path: "${join(bed.folder, 'files.json')}" }
`,
  )
  const stop = new AbortController()
  bed.s3.faults.onUploadPart = (_, n) => {
    if (n === 1) stop.abort(new Error('SIGTERM'))
    return undefined
  }
  const run = (args: readonly string[], soft?: AbortSignal) =>
    runProgram([...args, '--config', config], soft ? { soft } : {})
  const { out } = await run(['run', '--once'], stop.signal)
  assert.match(out, /"stopped":1/)
  assert.equal(bed.s3.uploads().length, 1)
  return run
}

test('C6.6: unfinished uploads are listed, with what they have, and aborted; others only if that is said', async () => {
  await using bed = await startCopyBed()
  const run = await interrupted(bed)
  const client = createS3Client({ endpoint: bed.s3.endpoint }, 1)
  await client.send(new CreateMultipartUploadCommand({ Bucket: 'data', Key: 'in/theirs' }))
  await client.send(new CreateMultipartUploadCommand({ Bucket: 'data', Key: 'elsewhere' }))
  client.destroy()
  const listed = await run(['state', 'uploads'])
  assert.equal(listed.code, 0)
  assert.match(
    listed.out,
    /to resume {2} .* s3:\/\/data\/in\/large\n {12}[\d.]+ MB of 31\.5 MB in \d parts? by the last save/,
  )
  assert.match(listed.out, /unknown {4} .* s3:\/\/data\/in\/theirs\n {12}not known to this state/)
  assert.doesNotMatch(listed.out, /elsewhere/)
  assert.equal((await run(['state', 'uploads', '--older-than', '1h'])).out, 'no unfinished upload\n')
  const aborted = await run(['state', 'uploads', '--abort', '--json'])
  assert.equal(aborted.code, 0)
  const facts = aborted.out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { key: string; aborted: boolean; known: boolean })
  assert.deepEqual(
    facts.map(({ key, aborted: isAborted, known }) => [key, known, isAborted]),
    [
      ['in/large', true, true],
      ['in/theirs', false, false],
    ],
  )
  assert.equal((await run(['state', 'uploads', '--abort', '--unknown'])).code, 0)
  assert.deepEqual(
    bed.s3.uploads().map(({ key }) => key),
    ['elsewhere'],
  )
  assert.equal((await run(['state', 'uploads'])).out, 'no unfinished upload\n')
})

test('after an abort the next run copies the whole file', async () => {
  await using bed = await startCopyBed()
  const run = await interrupted(bed)
  await run(['state', 'uploads', '--abort'])
  bed.s3.faults.onUploadPart = undefined
  const { code, out } = await run(['run', '--once'])
  assert.equal(code, 0, out)
  assert.deepEqual(bed.stored(), { 'in/large': bodyOf(30 * 2 ** 20) })
  const history = await run(['history'])
  assert.match(history.out, /done .*1 done/)
  assert.match((await run(['history', '--objects'])).out, /file:\/\/\/.*in\/large/)
})
