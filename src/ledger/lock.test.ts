import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { StreamError } from '../core/errors.ts'
import { takeLock } from './lock.ts'

const folder = mkdtempSync(join(tmpdir(), 's3s-lock-'))
after(() => rmSync(folder, { recursive: true, force: true }))

test('a lock is refused while it is held, and free when it is given back', () => {
  const path = join(folder, 'a.lock')
  const held = takeLock(path, () => '')
  assert.throws(
    () => takeLock(path, () => ' (process 7)'),
    (error) => error instanceof StreamError && error.code === 'ledger.locked' && /\(process 7\)/.test(error.message),
  )
  held.close()
  takeLock(path, () => '').close()
})

// A run as root left a lock that the service could not open: the start ended with a stack.
test('a lock that may not be opened is told with what to do', () => {
  const path = join(folder, 'folder.lock')
  mkdirSync(path)
  assert.throws(
    () => takeLock(path, () => ''),
    (error) =>
      error instanceof StreamError &&
      error.code === 'ledger.unwritable' &&
      /^cannot open .*folder\.lock: .* \(run as the user/.test(error.message),
  )
})

test('a lock goes with its process, even by kill -9', async () => {
  const path = join(folder, 'b.lock')
  const script = `import { takeLock } from ${JSON.stringify(new URL('./lock.ts', import.meta.url).href)}
    takeLock(${JSON.stringify(path)}, () => '')
    console.log('held')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise((resolve) => child.stdout.once('data', resolve))
  assert.throws(() => takeLock(path, () => ''), StreamError)
  child.kill('SIGKILL')
  await new Promise((resolve) => child.once('close', resolve))
  takeLock(path, () => '').close()
})
