/** `kill -9` of a copy, again and again: what is at the destination is whole or not there, and the last run finishes it. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Command } from '../e2e/command.ts'
import { startCopyBed } from '../servers/copy-bed.ts'
import { virtualBytes } from '../servers/sftp-bytes.ts'

const mib = 2 ** 20
const large = 96 * mib
const kills = 4

test('C6.6: a copy that is killed again and again goes on where it was, and every object is whole', async () => {
  await using bed = await startCopyBed()
  const { s3, sftp } = bed
  const body = virtualBytes()
  sftp.putVirtual('/upload/large.bin', large, body)
  for (let i = 0; i < 200; i += 1) sftp.put(`/upload/small/${String(i).padStart(3, '0')}.csv`, `line ${i}\n`.repeat(i))
  s3.minPartBytes = 0
  // Slow enough to be killed in the middle.
  s3.faults.onUploadPart = () => ({ delayMs: 20 })
  s3.faults.onPut = () => ({ delayMs: 5 })
  const args = ['copy', `${bed.login}/upload/`, 's3://data/', '--host-key', sftp.fingerprint, '--endpoint', s3.endpoint]
  const start = () => new Command([...args, '--part-size', '5MiB'], { env: bed.env })
  const whole = () => {
    for (const key of s3.keys()) {
      const size = key === 'large.bin' ? large : Buffer.byteLength(sftp.read(`/upload/${key}`) ?? '')
      assert.equal(s3.read(key)?.length, size, key)
    }
  }
  for (let i = 0; i < kills; i += 1) {
    const command = start()
    const before = s3.counters.uploadPart
    // Not before its upload is known to its state: one that was begun a moment ago belongs to nobody.
    while (!command.hasEnded && s3.counters.uploadPart < before + 3 + i) await sleep(5)
    await command.kill('SIGKILL')
    whole()
    if (s3.keys().includes('large.bin')) break
    assert.ok(s3.uploads().length <= 1, `${s3.uploads().length} uploads`)
  }
  const { code, stdout, stderr } = await start().ended
  assert.equal(stderr, '')
  assert.equal(code, 0, stdout)
  whole()
  assert.equal(s3.keys().length, 201)
  assert.deepEqual(s3.uploads(), [])
  const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
  assert.equal(digest(s3.read('large.bin') ?? Buffer.alloc(0)), digest(body(0, large)))
  // Each kill costs what was under way, not what was done.
  const parts = Math.ceil(large / (5 * mib))
  assert.ok(s3.counters.uploadPart <= parts + (kills + 1) * 16, `${s3.counters.uploadPart} parts sent, of ${parts}`)
})
