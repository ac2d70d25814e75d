/** What the elasticsearch sink must do with any real node: called by the test of each server. */
import assert from 'node:assert/strict'
import { after, type TestContext, test } from 'node:test'
import { startNotifiedBucket, until } from './notified-bucket.ts'
import { RecordCounter, recordText } from './numbered-records.ts'
import type { SearchNode } from './search-node.ts'

/** Stops the node after the last test of the file. */
export async function testSearchNode(node: SearchNode, o: { readonly dataStreams: boolean }): Promise<void> {
  const source = await startNotifiedBucket({ objects: 200, recordsPerObject: 500 })
  after(() => Promise.all([source[Symbol.asyncDispose](), node.stop()]))
  const { records } = source

  /** A queue and an index of the same name, and the streamer from one to the other. */
  const flow = async (name: string) => {
    await source.fillQueue(name)
    return source.installation(
      name,
      `{ type: elasticsearch, endpoints: ["${node.endpoint}"], index: ${name}, retry: { max: 2s } }`,
    )
  }
  /** All is there, whole and once. */
  const arrived = async (t: TestContext, index: string) => {
    const isDataStream = index.startsWith('stream-')
    const counter = new RecordCounter(records)
    for await (const { _id, _source } of node.documents(index)) {
      const { '@timestamp': time, ...record } = _source
      assert.equal(typeof time, isDataStream ? 'string' : 'undefined')
      counter.add(JSON.stringify(record), _id)
    }
    const { lost, strange, duplicated } = counter
    t.diagnostic(`${records} records, ${lost} lost, ${duplicated} stored twice`)
    assert.deepEqual({ lost, strange, duplicated }, { lost: 0, strange: 0, duplicated: 0 })
    assert.equal(await node.count(index), records)
    assert.deepEqual(await source.depth(index), { waiting: 0, held: 0 })
  }

  test('100,000 records arrive whole and once', async (t) => {
    const { start } = await flow('once')
    const { code, stdout, stderr } = await start('run', '--once').ended
    assert.equal(code, 0, stderr + stdout.slice(-3000))
    await arrived(t, 'once')
  })

  test('a node that is killed and started again in the middle: everything is there, and once', async (t) => {
    const { start } = await flow('node-killed')
    const streamer = start('run', '--once')
    await until(async () => (await node.count('node-killed')) > records / 10, streamer, { what: 'the first records' })
    await node.kill()
    try {
      await streamer.until(() => streamer.stdout.includes('batch not delivered yet'), 'a write that fails')
    } finally {
      await node.restart()
    }
    const { code, stdout, stderr } = await streamer.ended
    assert.equal(code, 0, stderr + stdout.slice(-3000))
    await arrived(t, 'node-killed')
  })

  test('kill -9 of the streamer in the middle and a new start: everything is there, and once', async (t) => {
    const { start } = await flow('streamer-killed')
    const first = start('run')
    await until(async () => (await node.count('streamer-killed')) > records / 10, first, { what: 'the first records' })
    await first.kill('SIGKILL')
    assert.ok((await node.count('streamer-killed')) < records, 'it was killed in the middle')
    const second = start('run')
    await until(() => source.isEmpty('streamer-killed'), second, { what: 'the queue to be empty', everyMs: 100 })
    const { code } = await second.kill('SIGTERM')
    assert.equal(code, 0, second.output.slice(-3000))
    await arrived(t, 'streamer-killed')
  })

  test('documents that the mapping refuses are in quarantine, the others are stored', async () => {
    const largest = 32_767
    await node.put('/typed', { mappings: { properties: { client: { properties: { port: { type: 'short' } } } } } })
    const { start } = await flow('typed')
    const { code, stdout, stderr } = await start('run', '--once').ended
    assert.equal(code, 0, stderr + stdout.slice(-3000))
    const client = (number: number) => JSON.parse(recordText(number)) as { readonly client: { readonly port: number } }
    const numbers = Array.from({ length: records }, (_, number) => number)
    const fitting = numbers.filter((number) => client(number).client.port <= largest).length
    assert.equal(await node.count('typed'), fitting)
    const list = await start('quarantine', 'list', '--json').ended
    const entries = list.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { readonly reason: string; readonly records: number })
    assert.equal(
      entries.reduce((sum, entry) => sum + entry.records, 0),
      records - fitting,
    )
    assert.deepEqual(
      entries.filter(({ reason }) => !/"typed".* 400 .*parsing_exception.*client\.port/.test(reason)),
      [],
    )
  })

  if (o.dataStreams) {
    test('100,000 records arrive in a data stream whole and once, each with an @timestamp', async (t) => {
      await node.put('/_index_template/streams', { index_patterns: ['stream-*'], data_stream: {} })
      await source.fillQueue('stream-logs')
      const sink = `{ type: elasticsearch, endpoints: ["${node.endpoint}"], data_stream: stream-logs }`
      const { start } = await source.installation('stream-logs', sink)
      const { code, stdout, stderr } = await start('run', '--once').ended
      assert.equal(code, 0, stderr + stdout.slice(-3000))
      await arrived(t, 'stream-logs')
    })
  }
}
