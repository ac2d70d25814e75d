import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testContext } from '../../test/conformance/sink.ts'
import { type S3Server, startS3 } from '../../test/servers/s3.ts'
import { s3Errors } from '../../test/servers/s3-wire.ts'
import { createS3Client } from '../aws/connection.ts'
import { StreamError } from '../core/errors.ts'
import { checkBucket } from './s3-bucket.ts'

process.env.AWS_ACCESS_KEY_ID = 'test'
process.env.AWS_SECRET_ACCESS_KEY = 'test'

/** What the check says: its error, or what it logs. */
async function said(prepare: (server: S3Server) => void): Promise<string> {
  const server = await startS3()
  const client = createS3Client({ endpoint: server.endpoint }, 1, { maxAttempts: 1 })
  const lines: string[] = []
  try {
    prepare(server)
    const { signal } = new AbortController()
    await checkBucket(client, { bucket: 'lake', prefix: 'in/', log: testContext(lines).log, signal })
    assert.deepEqual([server.counters.put, server.keys()], [0, []])
    return lines.join()
  } catch (error) {
    assert.ok(error instanceof StreamError, String(error))
    return `${error.code} ${error.message}`
  } finally {
    client.destroy()
    await server.close()
  }
}

const forbidden = (server: S3Server) => {
  server.faults.onHeadBucket = () => s3Errors.accessDenied
}

test('a bucket that is there is nothing to speak of', async () => {
  assert.equal(await said(() => undefined), '')
})

test('no such bucket says what to check', async () => {
  const text = await said((server) => {
    server.buckets = new Set()
  })
  assert.match(text, /^sink\.access cannot look at the bucket s3:\/\/lake: 404 .*check `bucket`/)
})

test('credentials that may not look at the bucket may still write: only a warning', async () => {
  const text = await said((server) => {
    forbidden(server)
    server.faults.onList = () => s3Errors.accessDenied
  })
  assert.match(text, /^warn cannot look at the bucket: the credentials have no s3:ListBucket/)
})

test('credentials for one prefix are in order', async () => {
  const asked: string[] = []
  const text = await said((server) => {
    forbidden(server)
    server.faults.onList = (prefix) => {
      asked.push(prefix)
      return undefined
    }
  })
  assert.equal(text, '')
  assert.deepEqual(asked, ['in/'])
})

test('a wrong key or secret is an error, though the answer to HEAD looks like a missing right', async () => {
  const text = await said((server) => {
    forbidden(server)
    server.faults.onList = () => s3Errors.invalidAccessKeyId
  })
  assert.match(text, /^sink\.access .*403 InvalidAccessKeyId.*check AWS_ACCESS_KEY_ID/)
})

test('a server that is not there is what may pass', async () => {
  const text = await said((server) => {
    server.faults.onHeadBucket = () => ({ cutAfter: -1 })
  })
  assert.match(text, /^sink\.unavailable cannot look at the bucket/)
})
