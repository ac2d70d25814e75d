import assert from 'node:assert/strict'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { startTestbed } from '../../test/servers/testbed.ts'

/** The lines after the configuration. */
const verdicts = (out: string) => out.split('\n').filter((line) => /^(ok|FAILED|warning)/.test(line))

test('check shows what is in force, then tries state, source and sink, and changes nothing', async () => {
  await using bed = await startTestbed()
  bed.s3.put('web/a.log', 'one\n')
  const { code, out, err } = await bed.run(['check'])
  assert.equal(code, 0)
  assert.equal(err, '')
  assert.match(out, /^# .*config\.yaml.*\npipelines:\n/)
  assert.deepEqual(verdicts(out), [
    `ok       s3-to-edgedelta: state ${join(bed.folder, 'state.json')}`,
    'ok       s3-to-edgedelta: source s3_scan s3://logs/web/',
    `ok       s3-to-edgedelta: sink edgedelta ${bed.input.url}`,
  ])
  assert.deepEqual(readdirSync(bed.folder), ['config.yaml'])
  assert.equal(bed.input.accepted.length, 0)
})

// facts/seeds.md A16.21: secrets in places where others can read them.
test('check never prints a secret', async () => {
  await using bed = await startTestbed()
  const { out, err } = await bed.run(['check'])
  assert.match(out, /X-Api-Key: "\[redacted\]"/)
  assert.doesNotMatch(out + err, /hunter2/)
})

test('what does not answer fails by name, the rest is tried all the same, and the exit code is 3', async () => {
  await using bed = await startTestbed()
  await bed.s3.close()
  await bed.input.close()
  const { code, out } = await bed.run(['check'])
  assert.equal(code, 3)
  const [state, source, sink] = verdicts(out)
  assert.match(state ?? '', /^ok /)
  assert.match(source ?? '', /^FAILED .*source .*cannot list s3:\/\/logs\/web\/: connect ECONNREFUSED/)
  assert.match(sink ?? '', /^FAILED .*sink .*cannot reach .*ECONNREFUSED/)
})

test('a broken state is told, and source and sink are still tried', async () => {
  await using bed = await startTestbed()
  writeFileSync(join(bed.folder, 'state.db'), 'this is no database, however long it may look to SQLite '.repeat(100))
  const { code, out } = await bed.run(['check'])
  assert.equal(code, 3)
  assert.deepEqual(
    verdicts(out).map((line) => line.slice(0, 6)),
    ['FAILED', 'ok    ', 'ok    '],
  )
})

test('a state file where no folder can be made is told before the first run', async () => {
  await using bed = await startTestbed()
  // A file in the place of a folder refuses root too.
  const { code, out } = await bed.run(['check'], {
    env: { S3_STREAMER_STATE_FILE_PATH: join(bed.config, 'state.json') },
  })
  assert.equal(code, 3)
  assert.match(verdicts(out)[0] ?? '', /^FAILED .*state .*cannot write in .*config\.yaml/)
})

test('a wrong file ends with 2 and all its problems', async () => {
  await using bed = await startTestbed()
  bed.write('http2: {}\nlogging: { levle: info }\n')
  const { code, out, err } = await bed.run(['check'])
  assert.equal(code, 2)
  assert.equal(out, '')
  assert.match(err, /config\.yaml:5:1 http2: .*\n.*config\.yaml:6:12 logging\.levle: .*did you mean "level"/)
})

test('a pipeline that is not there is told with those that are', async () => {
  await using bed = await startTestbed()
  const { code, err } = await bed.run(['check', '--pipeline', 'nope'])
  assert.equal(code, 2)
  assert.match(err, /no pipeline "nope", there is: s3-to-edgedelta/)
  assert.ok(!existsSync(join(bed.folder, 'state.db')))
})
