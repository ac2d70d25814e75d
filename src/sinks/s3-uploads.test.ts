import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { listed, sendPart } from '../../test/conformance/object-sink.ts'
import { onUploadBed, type UploadBed, uploadConfig } from '../../test/servers/s3-upload-bed.ts'
import { s3Errors } from '../../test/servers/s3-wire.ts'
import type { UnfinishedUpload } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { UnfinishedUploads } from './s3-uploads.ts'

const live = { signal: new AbortController().signal }

function uploadsOf(bed: UploadBed): UnfinishedUploads {
  return new UnfinishedUploads(uploadConfig(bed.server), bed.context)
}

async function listedBy(uploads: UnfinishedUploads): Promise<UnfinishedUpload[]> {
  const all: UnfinishedUpload[] = []
  for await (const upload of uploads.list(live)) all.push(upload)
  return all
}

async function begin(bed: UploadBed, name: string): Promise<void> {
  await using sink = await bed.create()
  const upload = await sink.open(listed(name, 2500), 2500, live)
  const [part] = upload?.missing ?? []
  assert.ok(upload && part)
  await sendPart(upload, part, randomBytes(2500))
}

const beginElsewhere = (bed: UploadBed, key: string) =>
  fetch(`${bed.server.endpoint}/data/${encodeURI(key)}?uploads`, { method: 'POST' })

onUploadBed('uploads of the log and of others are listed below what keys begin with, and told apart', async (bed) => {
  await begin(bed, 'b ü+%\n.csv')
  await beginElsewhere(bed, 'in/a')
  await beginElsewhere(bed, 'elsewhere/c')
  using uploads = uploadsOf(bed)
  const all = await listedBy(uploads)
  assert.deepEqual(
    all.map(({ key, known, isAtServer }) => [key, known?.parts.length, isAtServer]),
    [
      ['in/a', undefined, true],
      ['in/b ü+%\n.csv', 1, true],
    ],
  )
  assert.ok(all.every(({ startedMs }) => Math.abs(startedMs - Date.now()) < 3_600_000))
})

onUploadBed(
  'an aborted upload is gone at the server and in the log, and aborting it again is no error',
  async (bed) => {
    await begin(bed, 'a')
    await beginElsewhere(bed, 'in/b')
    using uploads = uploadsOf(bed)
    for (const upload of await listedBy(uploads)) {
      await uploads.abort(upload, live)
      await uploads.abort(upload, live)
    }
    assert.deepEqual([bed.unfinished(), bed.logged()], [0, 0])
  },
)

onUploadBed('what only the log knows is listed, whether it is gone or was begun under another key', async (bed) => {
  await begin(bed, 'gone')
  const gone = bed.server.uploads()[0]
  await fetch(`${bed.server.endpoint}/data/in/gone?uploadId=${gone?.uploadId}`, { method: 'DELETE' })
  await using sink = await bed.create({ key: 'before/{path}' })
  await sink.open(listed('moved', 2500), 2500, live)
  using uploads = uploadsOf(bed)
  const all = await listedBy(uploads)
  assert.deepEqual(all.map(({ key, isAtServer }) => [key, isAtServer]).toSorted(), [
    ['before/moved', true],
    ['in/gone', false],
  ])
  for (const upload of all) await uploads.abort(upload, live)
  assert.deepEqual([bed.unfinished(), bed.logged()], [0, 0])
})

onUploadBed('more uploads than a page holds are all listed', async (bed) => {
  for (let i = 0; i < 1003; i += 1) await beginElsewhere(bed, `in/${i % 7}`)
  using uploads = uploadsOf(bed)
  const all = await listedBy(uploads)
  assert.equal(new Set(all.map(({ uploadId }) => uploadId)).size, 1003)
  assert.equal(bed.server.counters.listUploads, 2)
})

onUploadBed('a refusal names the right that is needed', async (bed) => {
  bed.server.faults.onListUploads = () => s3Errors.accessDenied
  using uploads = uploadsOf(bed)
  await assert.rejects(listedBy(uploads), (error) => {
    assert.ok(error instanceof StreamError && error.code === 'sink.access')
    assert.match(error.message, /cannot list the unfinished uploads of s3:\/\/data\/in\/: 403/)
    return true
  })
})
