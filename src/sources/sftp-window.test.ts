import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import ssh2, { type SFTPWrapper } from 'ssh2'
import { startSftp } from '../../test/servers/sftp.ts'
import { virtualBytes } from '../../test/servers/sftp-bytes.ts'
import { socketFor } from './sftp-socket.ts'
import { windowOpener } from './sftp-window.ts'

const mebibyte = 1024 * 1024

test('this ssh2 lets its window be opened, again and again while data comes', async () => {
  await using server = await startSftp()
  server.putVirtual('/a', 40 * mebibyte, virtualBytes())
  const client = new ssh2.Client()
  const ready = once(client, 'ready')
  const sock = socketFor(client)
  client.connect({ sock, username: server.user, password: server.password })
  sock.connect({ host: server.host, port: server.port })
  await ready
  const sftp = await promise<SFTPWrapper>((done) => client.sftp(done))
  const { incoming } = sftp as unknown as { readonly incoming: { readonly window: number } }
  const open = windowOpener(client, sftp)
  open()
  assert.equal(incoming.window, 16 * mebibyte)
  const handle = await promise<Buffer>((done) => sftp.open('/a', 'r', done))
  const into = Buffer.alloc(255 * 1024)
  let least = incoming.window
  for (let at = 0; at < 40 * mebibyte; at += into.length) {
    await promise<number>((done) => sftp.read(handle, into, 0, into.length, at, done))
    least = Math.min(least, incoming.window)
    open()
    assert.ok(incoming.window > 8 * mebibyte)
  }
  assert.ok(least < 9 * mebibyte, 'more was read than the first window holds')
  const closed = once(client, 'close')
  client.end()
  await closed
})

function promise<T>(ask: (done: (error: Error | null | undefined, value: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => ask((error, value) => (error ? reject(error) : resolve(value))))
}
