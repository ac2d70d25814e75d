import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { startTestbed } from '../../test/servers/testbed.ts'

test('state show tells how far it got, before the first run and after it', async () => {
  await using bed = await startTestbed()
  const before = await bed.run(['state', 'show'])
  assert.equal(before.code, 0)
  assert.match(before.out, /settled +nothing yet.*\nread +0 objects/)
  assert.ok(!existsSync(join(bed.folder, 'state.db')), 'looking writes nothing')
  bed.s3.put('web/a.log', 'one\n')
  await bed.run(['run', '--once'])
  const after = await bed.run(['state', 'show'])
  assert.match(
    after.out,
    /settled +every object before \d{4}-.*Z\nread +1 objects, 4 B uncompressed\nnewest +\S+Z {2}web\/a\.log\n/,
  )
  const facts = JSON.parse((await bed.run(['state', 'show', '--json'])).out) as Record<string, unknown>
  assert.equal(facts.pipeline, 's3-to-edgedelta')
  assert.equal(facts.files, 1)
  assert.equal(facts.quarantined, 0)
})

test('state set takes RFC 3339 and Unix seconds, and reads again from there', async () => {
  for (const time of [
    '2025-10-12T21:00:00Z',
    '1760302800',
    '2025-10-12T23:00:00+02:00',
    '2025-10-12T21:00:00',
    '2025-10-12 21:00',
  ]) {
    await using bed = await startTestbed()
    const { code, out } = await bed.run(['state', 'set', time])
    assert.equal(code, 0, time)
    assert.match(out, /from 2025-10-12T21:00:00Z on/)
    const state = JSON.parse(readFileSync(join(bed.folder, 'state.json'), 'utf8')) as Record<string, unknown>
    assert.equal(state.last_processed_timestamp, 1760302800)
  }
})

test('state set refuses what is no time, and changes nothing', async () => {
  await using bed = await startTestbed()
  for (const time of ['rubbish', '2025', '1760302800000', '12.10.2025', '2025-13-40', '', '1e9', 'now']) {
    const { code, err } = await bed.run(['state', 'set', time])
    assert.equal(code, 2, time)
    assert.match(err, /is no time: write it like/)
  }
  assert.ok(!existsSync(join(bed.folder, 'state.json')))
})

test('state set reads the objects again that were delivered', async () => {
  await using bed = await startTestbed()
  bed.s3.put('web/a.log', 'one\n')
  await bed.run(['run', '--once'])
  await bed.run(['run', '--once'])
  assert.deepEqual(bed.input.lines, ['one'])
  await bed.run(['state', 'set', '0'])
  await bed.run(['run', '--once'])
  assert.deepEqual(bed.input.lines, ['one', 'one'])
})

test('state reset asks first; without anyone to ask it wants --yes', async () => {
  await using bed = await startTestbed()
  bed.s3.put('web/a.log', 'one\n')
  await bed.run(['run', '--once'])
  const asked: string[] = []
  const answer = (text: string) => ({
    ask: async (question: string) => {
      asked.push(question)
      return text
    },
  })
  assert.equal((await bed.run(['state', 'reset'])).code, 2)
  assert.equal((await bed.run(['state', 'reset'], answer(''))).code, 1)
  assert.match(asked[0] ?? '', /Forget what s3-to-edgedelta has delivered/)
  assert.match((await bed.run(['state', 'show'])).out, /read +1 objects/)
  const { code, out } = await bed.run(['state', 'reset'], answer('y'))
  assert.equal(code, 0)
  assert.match(out, /forgotten.*start_at: beginning/)
  assert.equal((await bed.run(['state', 'reset', '--yes'])).code, 0)
  await bed.run(['run', '--once'])
  assert.deepEqual(bed.input.lines, ['one', 'one'])
})
