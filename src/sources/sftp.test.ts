import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { testContext } from '../../test/conformance/sink.ts'
import { sourceConformance } from '../../test/conformance/source.ts'
import { bytesOf, finish, type SourceHarness, scanOnce } from '../../test/conformance/source-harness.ts'
import { failsWith, untilListed, withObjects } from '../../test/servers/file-bed.ts'
import { type SftpServer, startSftp } from '../../test/servers/sftp.ts'
import { virtualBytes } from '../../test/servers/sftp-bytes.ts'
import { sftpStatus } from '../../test/servers/sftp-wire.ts'
import type { Outcome, Source } from '../core/component.ts'
import { openLedger, type SqliteLedger } from '../ledger/sqlite.ts'
import type { FileObject } from './file-object.ts'
import { sftpConfig, sftpSource } from './sftp.ts'

const never = new AbortController().signal
const live = { signal: never }
const folder = '/data/in'

class Bed implements AsyncDisposable {
  readonly server: SftpServer
  readonly lines: string[] = []
  nowMs = Date.UTC(2026, 9, 12, 12)
  source!: Source<FileObject>
  ledger!: SqliteLedger
  readonly #state = mkdtempSync(join(tmpdir(), 's3-streamer-sftp-'))
  #versions = 0

  constructor(server: SftpServer) {
    this.server = server
    server.mkdir(folder)
  }

  async start(more: object = {}, how: 'stopped' | 'killed' = 'stopped'): Promise<this> {
    await this.stop(how)
    const { host, port, user, password, fingerprint } = this.server
    const login = { host, port, username: user, password, host_key_fingerprint: fingerprint }
    const config = sftpConfig.parse({ type: 'sftp', ...login, path: folder, poll_interval: '5ms', ...more })
    const context = { ...testContext(this.lines), nowMs: () => this.nowMs }
    this.ledger = openLedger({
      ...{ statePath: join(this.#state, 'state.json'), mode: 'exclusive', log: context.log },
      ...{ nowMs: context.nowMs, startMs: 0, retentionMs: 0, lookbackMs: 0 },
    })
    const rest = { ledger: this.ledger, dryRun: false, timeFromKey: () => undefined }
    this.source = await sftpSource.create(config, { ...context, ...rest })
    return this
  }

  async stop(how: 'stopped' | 'killed' = 'stopped'): Promise<void> {
    await this.source?.[Symbol.asyncDispose]()
    if (how === 'killed') this.ledger?.abandon()
    await this.ledger?.[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    // A source that is closed leaves no connection; the server sees it a little later.
    while (this.server.counters.connectionsOpen > 0) await sleep(2)
    await this.server.close()
    rmSync(this.#state, { recursive: true })
  }

  put(name: string | Buffer, body: string | Buffer = 'content'): void {
    // Times have whole seconds.
    this.#versions += 1
    const path = Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(name)])
    this.server.put(path, body, { mtimeMs: this.nowMs - 3_600_000 + this.#versions * 1000 })
  }

  /** One run that ends by itself, in which every file is read as a copy reads it. */
  async run(
    act: (object: FileObject) => void = () => undefined,
  ): Promise<Array<readonly [path: string, read: string]>> {
    const read: Array<readonly [string, string]> = []
    for await (const object of this.source.objects({ soft: never, hard: never, once: true })) {
      act(object)
      const [text, outcome] = await this.#copy(object).catch((error: unknown): [string, Outcome] => {
        const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
        return [code, code === 'source.replaced' ? 'replaced' : 'failed']
      })
      read.push([object.path, text])
      finish(this, object, outcome)
    }
    return read
  }

  async #copy(object: FileObject): Promise<[string, Outcome]> {
    const size = await this.source.confirm(object, live)
    const into = Buffer.alloc(size)
    const middle = Math.floor(size / 2)
    await Promise.all([
      this.source.fill(object, 0, into.subarray(0, middle), live),
      this.source.fill(object, middle, into.subarray(middle), live),
    ])
    await this.source.confirm(object, live)
    return [into.toString(), 'done']
  }
}

async function withSftp(config: object, act: (bed: Bed) => Promise<void>): Promise<void> {
  await using bed = new Bed(await startSftp())
  await bed.start(config)
  await act(bed)
}

sourceConformance('sftp', async (): Promise<SourceHarness> => {
  const bed = new Bed(await startSftp())
  const { server } = bed
  return {
    async start(how) {
      const { source, ledger } = await bed.start({}, how)
      return { source: withObjects(source, untilListed(source)), ledger }
    },
    put: (key, body) => bed.put(key, body),
    remove: (key) => server.remove(`${folder}/${key}`),
    stall(what) {
      if (what === 'lists') server.faults.onList = () => ({ stall: true })
      else server.faults.onRead = () => ({ stall: true })
    },
    deny: () => {
      server.faults.onList = () => ({ status: sftpStatus.permissionDenied })
    },
    content: () => [server.tree(), server.counters.removes, server.counters.renames],
    later: () => {
      bed.nowMs += 3_600_000
    },
    close: () => bed[Symbol.asyncDispose](),
  }
})

test('sftp: ids say where a file is, with the port only if it is another one', () =>
  withSftp({}, async (bed) => {
    bed.put('sub/a')
    const [object] = await scanOnce(withObjects(bed.source, untilListed(bed.source)))
    const { port } = bed.server
    const { size, lastModifiedMs } = object as FileObject
    assert.equal(object?.id, `sftp://acme@127.0.0.1:${port}/data/in/sub/a@${size}-${lastModifiedMs}`)
    const parsed = sftpConfig.parse({ type: 'sftp', host: 'h', username: 'u', path: 'in/*.gz' })
    assert.equal(sftpSource.place(parsed), 'sftp://u@h/~/in/*.gz')
    assert.equal(sftpSource.place({ ...parsed, port: 2222, path: '/in' }), 'sftp://u@h:2222/in')
  }))

test('sftp: a path from the home folder, a glob, one file', () =>
  withSftp({ path: 'box' }, async (bed) => {
    const { server } = bed
    for (const name of ['a.csv', 'b.txt', 'c.csv']) server.put(`${server.home}/box/${name}`, name, { mtimeMs: 1e12 })
    for (const [path, names] of [
      ['box', ['a.csv', 'b.txt', 'c.csv']],
      ['box/*.csv', ['a.csv', 'c.csv']],
      [`${server.home}/box/b.txt`, ['b.txt']],
    ] as const) {
      await bed.start({ path })
      bed.ledger.moveTo(0)
      assert.deepEqual(
        (await bed.run()).map(([name]) => name),
        names,
        path,
      )
    }
  }))

test('sftp: a connection that is cut in the middle of reading costs nothing but time', () =>
  withSftp({}, async (bed) => {
    const size = 3 * 2 ** 20
    const bytes = virtualBytes('seed')
    bed.server.putVirtual(`${folder}/big`, size, bytes, { mtimeMs: bed.nowMs - 1000 })
    let cuts = 0
    bed.server.faults.onRead = (_, offset) => {
      if (offset < 2 ** 20 || cuts === 2) return undefined
      cuts += 1
      return cuts === 1 ? { cutAfter: 1000 } : { cut: true }
    }
    const [object] = await scanOnce(withObjects(bed.source, untilListed(bed.source)))
    assert.ok(object)
    assert.deepEqual(await bytesOf(bed.source.open(object as FileObject, 0, live)), Buffer.from(bytes(0, size)))
    assert.equal(cuts, 2)
  }))

test('sftp: a server that lies about a size is found out, and other files go on', () =>
  withSftp({}, async (bed) => {
    for (const name of ['a', 'b', 'c']) bed.put(name, '0123456789')
    bed.server.lieAboutSize(`${folder}/a`, 20)
    bed.server.lieAboutSize(`${folder}/b`, 5)
    assert.deepEqual(await bed.run(), [
      ['a', 'source.short_body'],
      ['b', 'source.short_body'],
      ['c', '0123456789'],
    ])
  }))

test('C6.4 sftp: a file that changes while it is read is read again as it is then, never mixed', () =>
  withSftp({}, async (bed) => {
    for (const inPlace of [false, true]) {
      const name = `f${inPlace}`
      bed.put(name, 'aaaaaaaaaa')
      let reads = 0
      bed.server.faults.onRead = (path) => {
        reads += 1
        const mtimeMs = bed.nowMs - 1000
        if (reads === 1) bed.server.put(path, 'bbbbbbbbbb', { mtimeMs, inPlace })
        return undefined
      }
      assert.deepEqual(await bed.run(), [
        [name, 'source.replaced'],
        [name, 'bbbbbbbbbb'],
      ])
    }
  }))

test('sftp: names that are no UTF-8, or lead elsewhere, are told; those with spaces, quotes and newlines are read', () =>
  withSftp({}, async (bed) => {
    const names = [' a b ', 'q\'"u', 'new\nline', 'ü/日本🎉', '%41', 'a*b[c]?', '-rf', '..hidden', 'back\\slash']
    for (const name of names) bed.put(name, name)
    bed.put(Buffer.from([0x62, 0xff, 0x61]))
    bed.server.lieAboutNames(folder, ['../../etc/passwd', '..', 'x/y', Buffer.from([0xfe])])
    bed.server.putSpecial(`${folder}/pipe`, 'fifo')
    const read = await bed.run()
    assert.deepEqual(read.map(([path]) => path).toSorted(), names.toSorted())
    for (const [path, text] of read) assert.equal(text, path)
    assert.ok((bed.source.progress.failed ?? 0) >= 4, bed.lines.join('\n'))
    assert.equal(bed.source.figures?.special, 1)
  }))

test('sftp: files are deleted or moved on the server when they have arrived, and never over another', () =>
  withSftp({ after: 'delete' }, async (bed) => {
    bed.put('a')
    bed.put('b')
    let refused = 0
    bed.server.faults.onRemove = (path) => {
      if (!path.endsWith('/a') || refused === 2) return undefined
      refused += 1
      return refused === 1 ? { status: sftpStatus.failure } : { cut: true }
    }
    await bed.run()
    assert.deepEqual(bed.server.tree(folder), [`${folder}/`])
    await bed.start({ after: 'move', move_to: 'old/{date}/{name}' })
    for (const text of ['one', 'two']) {
      bed.put('sub/c', text)
      assert.deepEqual(await bed.run(), [['sub/c', text]])
    }
    const files = bed.server.tree(folder).filter((path) => !path.endsWith('/'))
    assert.deepEqual(files, ['/data/in/old/2026-10-12/c', '/data/in/old/2026-10-12/c.1'])
    assert.equal(bed.server.read('/data/in/old/2026-10-12/c.1')?.toString(), 'two')
  }))

test('sftp: row 24: many files over a few connections, each opened once, nothing left open', () =>
  withSftp({ sessions: 2 }, async (bed) => {
    for (let i = 0; i < 60; i += 1) bed.put(`f${i}`, `content ${i}`)
    assert.equal((await bed.run()).length, 60)
    const { counters } = bed.server
    while (counters.handlesOpen > 0) await sleep(2)
    assert.ok(counters.connections <= 2, `${counters.connections} connections`)
    // At most once a session: parts of one file may be read over both.
    assert.ok(counters.opens <= 120, `${counters.opens} opens`)
  }))

test('sftp: check says what is wrong with the path, the login, the host key', () =>
  withSftp({ path: '/nowhere' }, async (bed) => {
    await assert.rejects(bed.source.check(live), failsWith('source.access', /\/nowhere.*\(check `path`/))
    await bed.start({ password: 'wrong' })
    await assert.rejects(bed.source.check(live), failsWith('source.access', /^cannot .*\(.+\)/))
    await bed.start({ host_key_fingerprint: `SHA256:${'A'.repeat(43)}` })
    await assert.rejects(bed.source.check(live), failsWith('source.access', /SHA256:/))
    await bed.start({ host_key_fingerprint: undefined })
    await assert.rejects(bed.source.check(live), failsWith('source.access', /ssh-ed25519/))
    await assert.rejects(bed.start({ password: undefined }), failsWith('config.invalid', /nothing to log in with/))
    await bed.start()
    await bed.source.check(live)
  }))

test('sftp: a server that is away is waited for within the run, and the run goes on where it was', () =>
  withSftp({}, async (bed) => {
    for (const name of ['a', 'b', 'c']) bed.put(name, name)
    let given = 0
    const read = await bed.run(() => {
      given += 1
      if (given !== 2) return
      void bed.server.stop().then(() => bed.server.start())
    })
    assert.deepEqual(read, [
      ['a', 'a'],
      ['b', 'b'],
      ['c', 'c'],
    ])
  }))
