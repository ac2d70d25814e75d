import assert from 'node:assert/strict'
import { KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { test } from 'node:test'
import ssh2 from 'ssh2'
import { startSftp } from '../../test/servers/sftp.ts'
import { virtualBytes } from '../../test/servers/sftp-bytes.ts'
import { SftpBed } from '../../test/servers/sftp-store-bed.ts'
import { socketFor } from './sftp-socket.ts'

const bytes = virtualBytes()
const size = 3_000_017

const ciphers = [
  'aes128-gcm@openssh.com',
  'aes256-gcm@openssh.com',
  'chacha20-poly1305@openssh.com',
  'aes128-ctr',
  'aes256-ctr',
  'aes256-cbc',
] as const
for (const cipher of ciphers) {
  test(`what is received with ${cipher} is what was sent, in chunks of any size`, async () => {
    await using bed = await SftpBed.start({ algorithms: { cipher: [cipher] } })
    bed.server.putVirtual('/a', size, bytes)
    await using file = await bed
      .store({ algorithms: { cipher: [cipher] }, sessions: 1, read_size: '60KiB' })
      .open('/a', bed.o)
    await Promise.all(
      Array.from({ length: 6 }, async (_, i) => {
        const into = Buffer.alloc(500_002)
        const from = i * into.length
        assert.equal(await file.read(from, into, bed.o), Math.min(into.length, size - from))
        assert.ok(into.subarray(0, size - from).equals(bytes(from, Math.min(from + into.length, size))))
      }),
    )
  })
}

test('with AES-GCM this ssh2 lets itself be helped', async () => {
  await using server = await startSftp()
  const client = new ssh2.Client()
  const sock = socketFor(client)
  const ready = once(client, 'ready')
  client.connect({ sock, username: server.user, password: server.password })
  sock.connect({ host: server.host, port: server.port })
  await ready
  const { _protocol } = client as unknown as {
    readonly _protocol: {
      readonly _cipher: { readonly _encKey: unknown }
      readonly _decipher: { readonly _decipherKey: unknown }
    }
  }
  assert.ok(_protocol._cipher._encKey instanceof KeyObject)
  assert.ok(_protocol._decipher._decipherKey instanceof KeyObject)
  const closed = once(client, 'close')
  client.end()
  await closed
})
