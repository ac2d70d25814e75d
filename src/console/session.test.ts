import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSame, Sessions, sessionMs, WrongTokens } from './session.ts'

test('a session ends after twelve hours, and when it is closed', () => {
  let now = 1e12
  const sessions = new Sessions(() => now)
  const [a, b] = [sessions.open(), sessions.open()]
  assert.notEqual(a, b)
  sessions.close(b.id)
  assert.deepEqual([sessions.has(a.id), sessions.has(b.id), sessions.has('')], [true, false, false])
  assert.deepEqual(
    [sessions.isKey(a.id, a.key), sessions.isKey(a.id, b.key), sessions.isKey(a.id, a.id), sessions.isKey(b.id, b.key)],
    [true, false, false, false],
  )
  now += sessionMs
  assert.deepEqual([sessions.has(a.id), sessions.isKey(a.id, a.key)], [false, false])
})

test('there are never more than 64 sessions: the oldest ends', () => {
  const sessions = new Sessions(() => 1e12)
  const ids = Array.from({ length: 70 }, () => sessions.open())
  assert.deepEqual(
    ids.map(({ id }) => sessions.has(id)),
    ids.map((_, i) => i >= 6),
  )
})

test('wrong tokens count by address, of IPv6 by network, for a minute', () => {
  let now = 1e12
  const wrong = new WrongTokens(() => now)
  for (let i = 0; i < 10; i += 1) wrong.add(`2001:db8::${i}`)
  now += 30_000
  assert.equal(wrong.waitSeconds('2001:db8:0:0:ffff::1'), 30)
  assert.equal(wrong.waitSeconds('2001:db8:1::1'), 0)
  assert.equal(wrong.waitSeconds('10.0.0.1'), 0)
  now += 30_000
  assert.equal(wrong.waitSeconds('2001:db8::1'), 0)
  wrong.add('2001:db8::1')
  assert.equal(wrong.waitSeconds('2001:db8::1'), 0)
})

test('ten thousand addresses are not remembered', () => {
  const wrong = new WrongTokens(() => 1e12)
  for (let i = 0; i < 10; i += 1) wrong.add('10.0.0.1')
  assert.equal(wrong.waitSeconds('10.0.0.1'), 60)
  for (let i = 0; i < 10_000; i += 1) wrong.add(`10.1.${i >> 8}.${i & 255}`)
  assert.equal(wrong.waitSeconds('10.0.0.1'), 0)
})

test('tokens of any length are compared', () => {
  assert.deepEqual([isSame('a', 'a'), isSame('a', 'ab'), isSame('', ''), isSame('ä', 'a')], [true, false, true, false])
})
