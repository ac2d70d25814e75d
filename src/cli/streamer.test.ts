import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { freePort, StreamerBed } from '../../test/fakes/streamer-bed.ts'
import type { Snapshot } from '../console/snapshot.ts'

test('a reload starts what is new, stops what is gone, restarts what changed, and leaves the rest running', async () => {
  await using bed = new StreamerBed()
  bed.write({ kept: '', changed: '', gone: '' })
  bed.start()
  for (const name of ['kept', 'changed', 'gone']) bed.put(name, 'a.log', `${name} 1\n`)
  await bed.until(() => ['kept', 'changed', 'gone'].every((name) => bed.sent(name).length === 1), 'the first lines')
  const before = await bed.status()
  bed.write({ kept: '', changed: "    match: ['2']\n", added: '' })
  const told = await bed.reload()
  assert.match(told, /in force/)
  for (const name of ['kept', 'changed', 'gone', 'added']) {
    mkdirSync(join(bed.folder, name), { recursive: true })
    bed.put(name, 'b.log', `${name} 2\n${name} 3\n`)
  }
  await bed.until(() => bed.sent('kept').length === 3 && bed.sent('added').length === 2, 'the lines after it')
  await bed.until(() => bed.sent('changed').length === 2, 'the filtered line')
  assert.deepEqual(bed.sent('changed'), ['changed 1', 'changed 2'])
  assert.deepEqual(bed.sent('gone'), ['gone 1'])
  const after = await bed.status()
  const started = (snapshot: Snapshot, name: string) => snapshot.pipelines.find((one) => one.name === name)?.startedMs
  assert.equal(started(after, 'kept'), started(before, 'kept'))
  assert.notEqual(started(after, 'changed'), started(before, 'changed'))
  assert.equal(started(after, 'gone'), undefined)
  const { ok, restarted, stopped, kept } = after.config.reload ?? {}
  assert.deepEqual([ok, restarted, stopped, kept], [true, ['changed'], ['gone'], ['kept']])
  assert.deepEqual(after.config.reload?.started, ['added'])
  // What a pipeline counted goes on where it was.
  assert.equal(after.pipelines.find(({ name }) => name === 'changed')?.counts.read, 3)
  const metrics = await (await fetch(`${bed.address}/metrics`)).text()
  assert.match(metrics, /^config_reloads_total\{outcome="ok"\} 1$/m)
  assert.match(metrics, /^config_last_reload_success 1$/m)
  assert.doesNotMatch(metrics, /pipeline="gone"/)
  assert.equal(await bed.stop(), 0)
})

test('a file that is wrong changes nothing, and the log and the console say why', async () => {
  await using bed = new StreamerBed()
  bed.write({ one: '' })
  bed.start()
  bed.put('one', 'a.log', '1\n')
  await bed.until(() => bed.sent('one').length === 1, 'the first line')
  const before = await bed.status()
  bed.write({ one: '    fliter: "x"\n' })
  const told = await bed.reload()
  assert.match(told, /ERROR configuration read again: refused; what ran goes on as it was/)
  assert.match(told, /config\.yaml:\d+:\d+ .*fliter.*did you mean/)
  bed.put('one', 'b.log', '2\n')
  await bed.until(() => bed.sent('one').length === 2, 'the line after it')
  const { pipelines, config } = await bed.status()
  assert.equal(pipelines[0]?.startedMs, before.pipelines[0]?.startedMs)
  assert.equal(config.reload?.ok, false)
  assert.match(config.reload?.problems.join() ?? '', /fliter/)
  assert.deepEqual(config.reload?.kept, ['one'])
  rmSync(bed.config)
  assert.match(await bed.reload(), /there is no such file/)
  bed.write({ one: '' })
  assert.match(await bed.reload(), /in force.*kept one/)
})

test('a changed pipeline that cannot start goes on with its former configuration', async () => {
  await using bed = new StreamerBed()
  bed.write({ one: '', two: '' })
  bed.start()
  await bed.until(() => /pipeline two starts/.test(bed.output), 'the start')
  await bed.until(async () => (await bed.status()).state === 'running', 'running')
  bed.write({ one: '', two: '' })
  const text = readFileSync(bed.config, 'utf8')
  writeFileSync(bed.config, text.replace(`"${join(bed.folder, 'two')}"`, '"/nowhere/at/all"'))
  const told = await bed.reload()
  assert.match(
    told,
    /refused.*pipeline two cannot start: .*\/nowhere\/at\/all.*it goes on with its former configuration/,
  )
  bed.put('two', 'a.log', '1\n')
  bed.put('one', 'a.log', '1\n')
  await bed.until(() => bed.sent('two').length === 1 && bed.sent('one').length === 1, 'lines after the refusal')
  // The same file again is tried again.
  assert.match(await bed.reload(), /pipeline two cannot start/)
  assert.equal(await bed.stop(), 0)
})

test('the level of the log, and where the server listens, change with a reload', async () => {
  await using bed = new StreamerBed()
  bed.write({ one: '' })
  bed.start()
  await bed.until(() => bed.address !== '', 'the server')
  const first = bed.address
  const port = await freePort()
  bed.write({ one: '' }, `health: { address: "127.0.0.1:${port}" }\n`)
  await bed.reload()
  await bed.until(async () => (await fetch(`http://127.0.0.1:${port}/live`)).ok, 'the new address')
  await assert.rejects(fetch(`${first}/live`, { signal: AbortSignal.timeout(2000) }))
})

test('a port that is taken ends the start and says so; for a reload it is a refusal', async () => {
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  const { port } = taken.address() as { port: number }
  try {
    await using bed = new StreamerBed()
    bed.write({ one: '' }, `health: { address: "127.0.0.1:${port}" }\n`)
    bed.start()
    assert.equal(await bed.stop(), 1)
    assert.match(bed.output, new RegExp(`ERROR .*127\\.0\\.0\\.1:${port}.*code console\\.bind`))
    await using other = new StreamerBed()
    other.write({ one: '' })
    other.start()
    await other.until(() => other.address !== '', 'the server')
    other.write({ one: '' }, `health: { address: "127.0.0.1:${port}" }\n`)
    assert.match(await other.reload(), /refused/)
    assert.ok((await fetch(`${other.address}/live`)).ok)
  } finally {
    taken.close()
  }
})
