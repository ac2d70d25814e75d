import assert from 'node:assert/strict'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { freePort, StreamerBed } from '../../test/fakes/streamer-bed.ts'
import { startHttpInput } from '../../test/servers/http-input.ts'
import { databasePath } from '../ledger/database.ts'

/** From now on every write of the outcome of an object fails there: a bug of ours, as far as the pipeline can tell. */
function breakLedger(bed: StreamerBed, pipeline: string): void {
  const db = new DatabaseSync(databasePath(join(bed.folder, `${pipeline}.json`)))
  db.exec('DROP TABLE objects')
  db.close()
}

/** A pipeline whose receiver takes nothing, so that stopping it lasts. */
async function slowPipeline(bed: StreamerBed, url: string): Promise<void> {
  bed.put('slow', 'a.log', 'held\n')
  bed.edit(
    `sink: { type: file, path: "${join(bed.folder, 'slow.out')}", batch: { linger: 10ms } }`,
    `sink: { type: http, endpoints: ["${url}"], batch: { linger: 10ms } }\n    shutdown_timeout: 1s`,
  )
}

test('a pipeline that breaks while another one is restarted ends the process with an error', async () => {
  const input = await startHttpInput({ fault: (_, { method }) => (method === 'POST' ? 'hang' : undefined) })
  try {
    await using bed = new StreamerBed()
    bed.write({ slow: '', other: '' })
    await slowPipeline(bed, input.url)
    bed.start()
    await bed.until(() => input.requests > 1 && /pipeline other starts/.test(bed.output), 'the start')
    await bed.until(async () => (await bed.status()).state === 'running', 'running')
    bed.edit('shutdown_timeout: 1s', 'shutdown_timeout: 1001ms')
    bed.hangup()
    await bed.until(() => /stopping: no new objects/.test(bed.output), 'the restart')
    // The others deliver meanwhile, and the console answers.
    bed.put('other', 'before.log', '0\n')
    await bed.until(() => bed.sent('other').length === 1, 'the line of the other one')
    assert.ok((await bed.status()).pipelines.some(({ name, state }) => name === 'slow' && state === 'stopping'))
    breakLedger(bed, 'other')
    bed.put('other', 'a.log', '1\n')
    await bed.until(() => /no such table/.test(bed.output), 'the fault')
    assert.equal(await bed.ended(), 1)
  } finally {
    await input.close()
  }
})

test('a stop in the middle of a reload ends well, and what is under way is delivered', async () => {
  const input = await startHttpInput({ fault: (_, { method }) => (method === 'POST' ? { delayMs: 400 } : undefined) })
  try {
    await using bed = new StreamerBed()
    bed.write({ slow: '', other: '' })
    await slowPipeline(bed, input.url)
    bed.start()
    await bed.until(() => input.requests > 1, 'a request')
    bed.edit('shutdown_timeout: 1s', 'shutdown_timeout: 1001ms')
    bed.hangup()
    await bed.until(() => /stopping: no new objects/.test(bed.output), 'the restart')
    bed.terminate()
    assert.equal(await bed.ended(), 0)
    assert.deepEqual(input.lines, ['held'])
  } finally {
    await input.close()
  }
})

test('a pipeline that cannot be started again, neither as it is nor as it was, is an error of the process', async () => {
  await using bed = new StreamerBed()
  bed.write({ one: '' })
  bed.start()
  await bed.until(() => /pipeline one starts/.test(bed.output), 'the start')
  await bed.until(async () => (await bed.status()).state === 'running', 'running')
  bed.write({ one: "    match: ['2']\n" })
  rmSync(join(bed.folder, 'one'), { recursive: true })
  bed.hangup()
  assert.equal(await bed.ended(), 1)
  assert.match(bed.output, /cannot start.*nor with its former configuration/)
})

test('a new pipeline that cannot start leaves the others running, and the stop after it goes well', async () => {
  await using bed = new StreamerBed()
  bed.write({ one: '' })
  bed.start()
  await bed.until(() => bed.address !== '', 'the server')
  await bed.until(async () => (await bed.status()).state === 'running', 'running')
  bed.write({ one: '', two: '' })
  rmSync(join(bed.folder, 'two'), { recursive: true })
  assert.match(await bed.reload(), /pipeline two cannot start/)
  const { pipelines } = await bed.status()
  assert.deepEqual(
    pipelines.map(({ name, state }) => [name, state]),
    [
      ['one', 'running'],
      ['two', 'failed'],
    ],
  )
  bed.put('one', 'a.log', '1\n')
  await bed.until(() => bed.sent('one').length === 1, 'the line')
  mkdirSync(join(bed.folder, 'two'))
  // What was wrong may be mended outside of the file.
  assert.match(await bed.reload(), /in force.*started two/)
  assert.equal(await bed.stop(), 0)
})

test('two pipelines may swap their state files, and nothing is sent twice', async () => {
  await using bed = new StreamerBed()
  bed.write({ one: '', two: '' })
  bed.start()
  bed.put('one', 'a.log', '1\n')
  bed.put('two', 'b.log', '2\n')
  await bed.until(() => bed.sent('one').length === 1 && bed.sent('two').length === 1, 'the lines')
  bed.edit('- name: one', '- name: three')
  bed.edit('- name: two', '- name: one')
  bed.edit('- name: three', '- name: two')
  assert.match(await bed.reload(), /in force.*restarted (one, two|two, one)/)
  bed.put('one', 'c.log', '3\n')
  bed.put('two', 'd.log', '4\n')
  await bed.until(() => bed.sent('one').length >= 2 && bed.sent('two').length >= 2, 'the lines after it')
  assert.equal(await bed.stop(), 0)
  assert.deepEqual(
    [bed.sent('one'), bed.sent('two')],
    [
      ['1', '3'],
      ['2', '4'],
    ],
  )
})

test('a reload that is refused for the log moves the server nowhere', async () => {
  await using bed = new StreamerBed()
  bed.write({ one: '' })
  bed.start()
  await bed.until(() => bed.address !== '', 'the server')
  const { address } = bed
  const port = await freePort()
  bed.edit('logging: { format: text }', 'logging: { format: text, file: { path: /dev/null/x.log } }')
  bed.edit('pipelines:', `health: { address: "127.0.0.1:${port}" }\npipelines:`)
  assert.match(await bed.reload(), /refused.*logging\.file\.path/)
  assert.ok((await fetch(`${address}/live`)).ok)
  await assert.rejects(fetch(`http://127.0.0.1:${port}/live`))
})

test('a reload that comes while the streamer starts waits for the start', async () => {
  await using bed = new StreamerBed()
  bed.write({ one: '', two: '' })
  bed.start({ hangups: 3 })
  await bed.until(() => /configuration read again: .*\n/.test(bed.output), 'the reload')
  assert.match(bed.output, /in force/)
  bed.put('one', 'a.log', '1\n')
  await bed.until(() => bed.sent('one').length === 1, 'the line')
  // What came while the first one waited is one more at most.
  assert.ok(bed.output.split('configuration read again').length <= 3)
  assert.equal(await bed.stop(), 0)
  assert.doesNotMatch(bed.output, /ERROR/)
})

test('what a pipeline depended on before a reload is neither shown nor told as broken after it', async () => {
  const input = await startHttpInput({ fault: () => 'reset' })
  try {
    await using bed = new StreamerBed()
    bed.write({ slow: '' })
    await slowPipeline(bed, input.url)
    bed.edit('shutdown_timeout: 1s', 'shutdown_timeout: 100ms')
    bed.start()
    const metrics = async () => (bed.address === '' ? '' : await (await fetch(`${bed.address}/metrics`)).text())
    await bed.until(async () => /^endpoint_up\{.*http.* 0$/m.test(await metrics()), 'the endpoint down')
    bed.write({ slow: '' })
    assert.match(await bed.reload(), /restarted slow/)
    await bed.until(() => bed.sent('slow').length === 1, 'the line')
    const text = await metrics()
    assert.doesNotMatch(text, /^endpoint_up\{.*http/m)
    assert.match(text, /^sink_retries_total\{pipeline="slow"\} [1-9]/m)
    assert.equal(await bed.stop(), 0)
  } finally {
    await input.close()
  }
})

test('a pipeline under another name goes on with its state file', async () => {
  await using bed = new StreamerBed()
  bed.write({ one: '' })
  bed.start()
  bed.put('one', 'a.log', '1\n')
  await bed.until(() => bed.sent('one').length === 1, 'the line')
  bed.edit('- name: one', '- name: renamed')
  assert.match(await bed.reload(), /in force/)
  bed.put('one', 'c.log', '2\n')
  await bed.until(() => bed.sent('one').length >= 2, 'the line after it')
  assert.deepEqual(bed.sent('one'), ['1', '2'])
  const metrics = await (await fetch(`${bed.address}/metrics`)).text()
  assert.doesNotMatch(metrics, /pipeline="one"/)
  assert.equal(await bed.stop(), 0)
})
