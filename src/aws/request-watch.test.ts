import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HeadBucketCommand, ListObjectsV2Command } from '@aws-sdk/client-s3'
import { startS3 } from '../../test/servers/s3.ts'
import { createS3Client } from './connection.ts'
import { RequestWatch } from './request-watch.ts'

process.env.AWS_ACCESS_KEY_ID = 'test'
process.env.AWS_SECRET_ACCESS_KEY = 'test'

test('what comes of every request is told, but of those that only look', async () => {
  const server = await startS3()
  server.buckets = new Set(['b'])
  const seen: string[] = []
  const client = createS3Client({ endpoint: server.endpoint }, 2, { maxAttempts: 1 })
  const watch = new RequestWatch(client, (error) => seen.push(error instanceof Error ? error.name : 'answered'))
  await client.send(new ListObjectsV2Command({ Bucket: 'b' }))
  await client.send(watch.aside(new HeadBucketCommand({ Bucket: 'b' })))
  await assert.rejects(client.send(new ListObjectsV2Command({ Bucket: 'none' })))
  await assert.rejects(client.send(watch.aside(new ListObjectsV2Command({ Bucket: 'none' }))))
  const abort = new AbortController()
  abort.abort()
  await assert.rejects(client.send(new ListObjectsV2Command({ Bucket: 'b' }), { abortSignal: abort.signal }))
  assert.deepEqual(seen, ['answered', 'NoSuchBucket', 'AbortError'])
  const { clock } = watch
  assert.ok(clock && Math.abs(clock.oursMs - clock.serverMs) < 60_000)
  client.destroy()
  await server.close()
})
