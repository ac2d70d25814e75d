import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testContext } from '../../test/conformance/sink.ts'
import { type SftpServer, startSftp } from '../../test/servers/sftp.ts'
import type { Finding } from '../core/component.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { sftpConfig } from './sftp.ts'
import { SftpOutside } from './sftp-outside.ts'

const live = { signal: new AbortController().signal }

async function withServer(
  act: (server: SftpServer, outside: SftpOutside, metric: (name: string) => number) => Promise<void>,
  more: object = {},
) {
  await using server = await startSftp()
  server.mkdir('/in')
  const { host, port, user, password, fingerprint } = server
  const login = { host, port, username: user, password, host_key_fingerprint: fingerprint }
  const meter = new MemoryMeter()
  const context = { ...testContext([]), meter }
  const outside = new SftpOutside(sftpConfig.parse({ type: 'sftp', ...login, path: '/in', ...more }), context)
  const metric = (name: string) => meter.snapshot().find((series) => series.name === name)?.value ?? Number.NaN
  try {
    await act(server, outside, metric)
  } finally {
    await outside.store[Symbol.asyncDispose]()
  }
}

async function examined(outside: SftpOutside): Promise<Finding[]> {
  const findings: Finding[] = []
  for await (const finding of outside.examine(live)) findings.push(finding)
  return findings
}

test('probes use the connection that is open, and log in once a minute at most', () =>
  withServer(async (server, { state, store }) => {
    assert.equal(state.name, `sftp 127.0.0.1:${server.port}`)
    for (let i = 0; i < 3; i += 1) await state.probe(live)
    assert.deepEqual([server.counters.connections, state.state], [1, 'unused'])
    await store.resolve('/in', live)
    assert.deepEqual([server.counters.connections, store.connections], [1, 1])
  }))

test('a server that refuses is asked once a minute, and its answer is told meanwhile', () =>
  withServer(async (server, { state }) => {
    server.users.clear()
    await assert.rejects(state.probe(live), /cannot log in/)
    const { connections } = server.counters
    await assert.rejects(state.probe(live), /cannot log in/)
    assert.deepEqual([server.counters.connections, state.state], [connections, 'unused'])
  }))

test('connections, their failures and the bytes they bring are counted, and show the state', () =>
  withServer(async (server, { state, store }, metric) => {
    server.put('/in/a', 'x'.repeat(1000))
    await using file = await store.open('/in/a', live)
    await file.read(0, Buffer.alloc(1000), live)
    assert.equal(state.state, 'up')
    const names = ['sessions', 'connects_total', 'connect_failures_total', 'bytes_read_total']
    assert.deepEqual(
      names.map((name) => metric(`sftp_${name}`)),
      [1, 1, 0, 1000],
    )
    server.users.clear()
    await server.stop()
    await server.start()
    await assert.rejects(store.resolve('/in', live))
    assert.deepEqual([metric('sftp_sessions'), state.state], [0, 'failing'])
    assert.ok(metric('sftp_connect_failures_total') > 0)
    assert.match(state.error ?? '', /^cannot log in/)
  }))

test('doctor tells host key, login and folder, and whether the server takes all the connections', () =>
  withServer(
    async (server, outside) => {
      server.put('/in/a', 'x')
      const texts = (await examined(outside)).map(({ level, text }) => `${level}: ${text}`)
      assert.match(texts[0] ?? '', /^ok: sftp:\/\/acme@127\.0\.0\.1:\d+: host key known, logged in, SFTP speaks/)
      assert.match(texts[1] ?? '', /^ok: the server takes 3 connections at once/)
      assert.match(texts[3] ?? '', /^ok: 1 file; the newest is \/in\/a/)
      assert.deepEqual([server.counters.removes, server.counters.renames], [0, 0])
    },
    { sessions: 3 },
  ))

test('a wrong host key is a problem that says what to compare', () =>
  withServer(
    async (_, outside) => {
      const [problem, ...more] = await examined(outside)
      assert.deepEqual([problem?.level, more.length], ['problem', 0])
      assert.match(problem?.text ?? '', /HOST KEY IS NOT THE PINNED ONE/)
      assert.match(problem?.advice ?? '', /INTERCEPTING/)
    },
    { host_key_fingerprint: `SHA256:${'A'.repeat(43)}` },
  ))
