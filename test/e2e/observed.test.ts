/** The real process as an operator meets it: its port, its signals, and what it says of an outage. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import type { Snapshot } from '../../src/console/snapshot.ts'
import { startHttpInput } from '../servers/http-input.ts'
import { startS3 } from '../servers/s3.ts'
import { type Command, Installation } from './command.ts'

const cleanups: Array<() => unknown> = []
after(async () => {
  for (const cleanup of cleanups) await cleanup()
})

async function world() {
  const s3 = await startS3()
  const input = await startHttpInput()
  // Any free port: the usual one may be taken by another test.
  const installation = new Installation({ endpoint: s3.endpoint, inputs: [input.url], prefix: 'web/' })
  cleanups.push(
    () => s3.close(),
    () => input.close(),
    () => installation.remove(),
  )
  return { s3, input, installation }
}

/** Where it listens, as its log says. */
async function addressOf(command: Command): Promise<string> {
  const found = () => / at (http:\/\/localhost:\d+)/.exec(command.stdout)?.[1]
  await command.until(() => found() !== undefined, 'the address')
  return found() ?? ''
}

const get = async (url: string) => {
  const answer = await fetch(url)
  return { status: answer.status, text: await answer.text() }
}

test('a receiver that is down makes /ready fail and /live not; when it is back, so is /ready, and the counts balance all the time', async () => {
  const { s3, input, installation } = await world()
  for (let i = 0; i < 5; i += 1) s3.put(`web/${i}.log.gz`, gzipSync(`a${i}\nb${i}\n`))
  input.fault = () => ({ status: 503 })
  const streamer = installation.start()
  cleanups.push(() => streamer.kill('SIGKILL'))
  const url = await addressOf(streamer)
  const ready = async () => (await get(`${url}/ready`)).status
  const isDown = async () => /"http http:[^"]+":"ERROR: /.test((await get(`${url}/health`)).text)
  for (let i = 0; !(await isDown()); i += 1) assert.ok(i < 5000)
  assert.equal(await ready(), 503)
  assert.equal((await get(`${url}/live`)).status, 200)
  const { text } = await get(`${url}/health`)
  assert.match(text, /"s3":"OK"/)
  const down = /^endpoint_up\{component="sink",endpoint="http [^"]+",pipeline="s3-to-edgedelta"\} 0$/m
  let during = ''
  for (let i = 0; !down.test(during); i += 1) {
    assert.ok(i < 5000)
    during = (await get(`${url}/metrics`)).text
  }
  const count = (metrics: string, what: string) =>
    Number(new RegExp(`^records_${what}_total\\{[^}]*\\} (\\d+)$`, 'm').exec(metrics)?.[1])
  assert.deepEqual([count(during, 'read'), count(during, 'delivered')], [0, 0])
  const lag = Number(/^processing_lag_seconds\{[^}]*\} (\S+)$/m.exec(during)?.[1])
  assert.ok(lag > 0)
  input.fault = () => undefined
  for (let i = 0; (await ready()) !== 200; i += 1) assert.ok(i < 5000)
  await streamer.until(() => input.lines.length >= 10, 'all lines')
  let metrics = ''
  for (let i = 0; count(metrics, 'read') !== 10; i += 1) {
    assert.ok(i < 2000)
    metrics = (await get(`${url}/metrics`)).text
    const [delivered, filtered, quarantined] = ['delivered', 'filtered', 'quarantined'].map((what) =>
      count(metrics, what),
    )
    assert.equal(count(metrics, 'read'), (delivered ?? 0) + (filtered ?? 0) + (quarantined ?? 0))
  }
  assert.match(metrics, /^processing_lag_seconds\{[^}]*\} 0$/m)
  const { code } = await streamer.kill('SIGTERM')
  assert.equal(code, 0)
})

test('reload: a wrong file is told and changes nothing, a right one is in force, by the command and by SIGHUP; the pid stays', async () => {
  const { s3, input, installation } = await world()
  s3.put('web/0.log.gz', gzipSync('first\n'))
  assert.equal((await installation.run('reload')).code, 3)
  const streamer = installation.start()
  cleanups.push(() => streamer.kill('SIGKILL'))
  const url = await addressOf(streamer)
  await streamer.until(() => input.lines.includes('first'), 'the first line')
  const text = readFileSync(installation.config, 'utf8')
  writeFileSync(installation.config, text.replace('workers: 10', 'wrokers: 10'))
  const wrong = await installation.run('reload')
  assert.equal(wrong.code, 2)
  assert.match(wrong.stderr, /wrokers.*did you mean "workers"[\s\S]*Nothing was changed/)
  writeFileSync(installation.config, `${text}match: ['^x']\n`)
  const right = await installation.run('reload')
  assert.equal(right.code, 0, right.stderr)
  assert.match(right.stdout, /is in force\.\n {2}restarted {2}s3-to-edgedelta/)
  s3.put('web/1.log.gz', gzipSync('x1\ny1\n'))
  await streamer.until(() => input.lines.includes('x1'), 'a line that matches')
  assert.ok(!input.lines.includes('y1'))
  writeFileSync(installation.config, text)
  streamer.child.kill('SIGHUP')
  const { pid } = JSON.parse((await get(`${url}/api/status`)).text) as Snapshot
  assert.equal(pid, streamer.child.pid)
  await streamer.until(
    () => streamer.stdout.split('configuration read again: in force').length === 3,
    'the second reload',
  )
  s3.put('web/2.log.gz', gzipSync('y2\n'))
  await streamer.until(() => input.lines.includes('y2'), 'a line that did not match before')
  assert.equal((await streamer.kill('SIGTERM')).code, 0)
})

test('several streamers on one machine: the second has another port, and status finds each by its state', async () => {
  const worlds = [await world(), await world()]
  const urls: string[] = []
  for (const { installation } of worlds) {
    const streamer = installation.start()
    cleanups.push(() => streamer.kill('SIGKILL'))
    urls.push(await addressOf(streamer))
  }
  assert.notEqual(urls[0], urls[1])
  for (const [i, { installation }] of worlds.entries()) {
    const { code, stdout } = await installation.run('status', '--json')
    assert.equal(code, 0)
    assert.equal((JSON.parse(stdout) as { url: string }).url, urls[i])
  }
})
