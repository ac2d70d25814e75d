import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { test } from 'node:test'
import type ssh2 from 'ssh2'
import { startSftp } from './sftp.ts'
import { virtualBytes } from './sftp-bytes.ts'
import { openSftp } from './sftp-client.ts'
import { makeSshKey } from './sftp-keys.ts'
import { resetSocket } from './sftp-session.ts'

test('users enter by password, key or keyboard-interactive, and by nothing else', async (t) => {
  const key = makeSshKey()
  const locked = makeSshKey('ecdsa', 'sesame')
  await using server = await startSftp({
    users: { anna: { publicKeys: [key.publicKey, locked.publicKey] }, bert: { password: 'b' } },
  })
  const enters = async (o: ssh2.ConnectConfig) => {
    await using client = await openSftp(server, o)
    return client.maxReadLength > 0
  }
  await t.test('what is right', async () => {
    assert.equal(await enters({ username: 'anna', privateKey: key.privateKey }), true)
    assert.equal(await enters({ username: 'anna', privateKey: locked.privateKey, passphrase: 'sesame' }), true)
    assert.equal(await enters({ username: 'bert', password: 'b' }), true)
    server.switches.authMethods = ['keyboard-interactive']
    await assert.rejects(enters({ username: 'bert', password: 'b' }), /authentication methods failed/)
    assert.equal(await enters({ username: 'bert', password: 'b', tryKeyboard: true }), true)
    server.switches.authMethods = ['publickey', 'password']
  })
  await t.test('what is wrong', async () => {
    const failed = /authentication methods failed/
    await assert.rejects(enters({ username: 'anna', privateKey: makeSshKey().privateKey }), failed)
    await assert.rejects(enters({ username: 'bert', privateKey: key.privateKey }), failed)
    await assert.rejects(enters({ username: 'bert', password: 'c' }), failed)
    await assert.rejects(enters({ username: 'carl', password: 'b' }), failed)
    server.faults.onAuth = (user, method) => (user === 'bert' && method === 'password' ? 'refuse' : undefined)
    await assert.rejects(enters({ username: 'bert', password: 'b' }), failed)
    server.faults.onAuth = undefined
    server.switches.refuseAuth = true
    await assert.rejects(enters({ username: 'bert', password: 'b' }), failed)
    server.switches.refuseAuth = false
    server.faults.onAuth = () => 'stall'
    await assert.rejects(enters({ username: 'bert', password: 'b', readyTimeout: 200 }), /Timed out/)
    server.faults.onAuth = () => 'cut'
    await assert.rejects(enters({ username: 'bert', password: 'b' }))
    server.faults.onAuth = undefined
    const before = server.counters.authFailures
    server.switches.maxAuthTries = 1
    await assert.rejects(enters({ username: 'bert', password: 'c' }))
    assert.equal(server.counters.authFailures, before + 1)
  })
})

test('the host key is the one that is announced; a restart may change it, the port stays', async () => {
  await using server = await startSftp({ hostKeys: [makeSshKey('ed25519'), makeSshKey('ecdsa')] })
  const keyOf = async (algorithm: ssh2.ServerHostKeyAlgorithm) => {
    let key = ''
    await using client = await openSftp(server, {
      algorithms: { serverHostKey: [algorithm] },
      hostVerifier: (blob: Buffer) => {
        key = blob.toString('base64')
        return true
      },
    })
    assert.ok(client.maxReadLength > 0)
    return key
  }
  const { port, fingerprint, knownHostsLine } = server
  assert.match(fingerprint, /^SHA256:[A-Za-z0-9+/]{43}$/)
  assert.equal(knownHostsLine, `[127.0.0.1]:${port} ssh-ed25519 ${await keyOf('ssh-ed25519')}`)
  assert.equal(
    server.knownHosts.split('\n')[1],
    `[127.0.0.1]:${port} ecdsa-sha2-nistp256 ${await keyOf('ecdsa-sha2-nistp256')}`,
  )
  await server.stop()
  await assert.rejects(openSftp(server), /ECONNREFUSED/)
  await server.start({ hostKeys: [makeSshKey()] })
  assert.equal(server.port, port)
  assert.notEqual(server.fingerprint, fingerprint)
  assert.equal(server.knownHostsLine, `[127.0.0.1]:${port} ssh-ed25519 ${await keyOf('ssh-ed25519')}`)
})

test('connections are refused, limited, left without a word, dropped and frozen', async (t) => {
  await using server = await startSftp()
  server.put('/a', 'abc')
  await t.test('refused', async () => {
    server.switches.refuseConnections = true
    await assert.rejects(openSftp(server))
    server.switches.refuseConnections = false
  })
  await t.test('limited as by MaxStartups and MaxSessions', async () => {
    server.switches.maxConnections = 1
    server.switches.maxSessions = 1
    await using client = await openSftp(server)
    await assert.rejects(openSftp(server))
    await assert.rejects(client.again(), /open failure/)
    server.switches.maxConnections = 100
    server.switches.maxSessions = 10
    await client.again()
    server.switches.withoutSftp = true
    await assert.rejects(client.again(), /subsystem/)
    server.switches.withoutSftp = false
  })
  await t.test('left without a word', async () => {
    server.switches.stallHandshake = true
    await assert.rejects(openSftp(server, { readyTimeout: 50 }), /Timed out while waiting for handshake/)
    server.switches.stallHandshake = false
  })
  await t.test('dropped', async () => {
    await using client = await openSftp(server)
    server.dropAll()
    await client.ended
    assert.equal(server.counters.connectionsOpen, 0)
  })
  await t.test('frozen, and thawed again', async () => {
    await using client = await openSftp(server)
    server.freeze()
    let answered = false
    const stat = client.stat('/a').then((stats) => {
      answered = true
      return stats
    })
    // A new connection is taken, but gets no greeting.
    await assert.rejects(openSftp(server, { readyTimeout: 50 }), /Timed out/)
    assert.equal(answered, false)
    server.thaw()
    assert.equal((await stat).size, 3)
  })
})

test('a client that leaves without reading what it asked for leaves no handle and no connection behind', async () => {
  await using server = await startSftp()
  server.putVirtual('/big', 1e9, virtualBytes())
  await using client = await openSftp(server)
  const handle = await client.open('/big')
  // More than the window of the channel and the buffers of the sockets hold, and a client that looks at nothing.
  const asked = Array.from({ length: 400 }, (_, i) => client.read(handle, i * 250_000, 250_000))
  const failed = Promise.allSettled(asked)
  await Promise.race(asked)
  assert.equal(server.counters.handlesOpen, 1)
  client.connection.destroy()
  await Promise.all([failed, client.ended])
  await server.stop()
  const { handlesOpen, connectionsOpen } = server.counters
  assert.deepEqual({ handlesOpen, connectionsOpen }, { handlesOpen: 0, connectionsOpen: 0 })
})

test('a connection that is reset while it ends is closed too', async () => {
  const listener = createServer((socket) => {
    socket.on('error', (error) => listener.emit('error', error))
    socket.end()
    resetSocket(socket)
    socket.on('close', () => listener.close())
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const address = listener.address()
  assert.ok(address !== null && typeof address === 'object')
  const socket = connect(address.port, '127.0.0.1')
  socket.on('error', () => socket.destroy())
  socket.resume()
  await once(listener, 'close')
  socket.destroy()
})

test('what is no SSH or no SFTP does not harm the server', async () => {
  await using server = await startSftp()
  server.put('/a', 'abc')
  const socket = connect(server.port, server.host)
  socket.on('error', () => socket.destroy())
  socket.end('GET / HTTP/1.1\r\n\r\n')
  socket.resume()
  await once(socket, 'close')
  await using client = await openSftp(server)
  const channel = await client.raw()
  channel.resume()
  const closed = once(channel, 'close')
  channel.write(Buffer.from([0, 0, 0, 0]))
  await closed
  assert.equal((await client.stat('/a')).size, 3)
})
