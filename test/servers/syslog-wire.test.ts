import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FrameReader, parse3164, parse5424 } from './syslog-wire.ts'

test('the examples of RFC 5424 6.5 are read', () => {
  const first = parse5424(
    Buffer.from("<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \ufeff'su root' failed for lonvick"),
  )
  assert.equal(`${first.facility}.${first.severity}`, '4.2')
  assert.equal(first.hasBom, true)
  assert.equal(first.content.toString(), "'su root' failed for lonvick")
  const fourth = parse5424(
    Buffer.from(
      '<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Appli\\"cation" eventID="1011"][examplePriority@32473 class="high"]',
    ),
  )
  assert.equal(fourth.structuredData.get('exampleSDID@32473')?.get('eventSource'), 'Appli"cation')
  assert.equal(fourth.structuredData.get('examplePriority@32473')?.get('class'), 'high')
  assert.equal(fourth.content.length, 0)
})

test('what is against RFC 5424 is refused', () => {
  const header = '<34>1 2003-10-11T22:14:15.003Z h a - -'
  const bad = [
    '<192>1 2003-10-11T22:14:15.003Z h a - - - x',
    '<034>1 2003-10-11T22:14:15.003Z h a - - - x',
    '<34>1 2003-10-11 22:14:15 h a - - - x',
    '<34>1 2003-13-11T22:14:15Z h a - - - x',
    `<34>1 - ${'h'.repeat(256)} a - - - x`,
    `<34>1 - h ${'a'.repeat(49)} - - - x`,
    `${header} x`,
    `${header} [a b="c"] x`,
    `${header} [a@1 b="c]"] x`,
    `${header} [a@1 b="c] x`,
    `${header} [a@1 b=c] x`,
    `${header} [a@1 b="c"]x`,
    `${header} [a@1 b="c"] [a@1]`.replace('] [', ']['),
  ]
  for (const text of bad) assert.throws(() => parse5424(Buffer.from(text)), Error, text)
})

test('the example of RFC 3164 5.4 is read, and what is against it refused', () => {
  const message = parse3164(Buffer.from("<34>Oct 11 22:14:15 mymachine su: 'su root' failed"))
  assert.equal(message.appName, 'su')
  assert.equal(message.content.toString(), "'su root' failed")
  const bad = ['<34>Oct 1 22:14:15 h su: x', '<34>2003-10-11T22:14:15Z h su: x', '<34>Oct 11 22:14:15 h su: a\nb']
  for (const text of bad) assert.throws(() => parse3164(Buffer.from(text)), Error, text)
})

test('frames are found however the bytes arrive, and a stream out of step is noticed', () => {
  for (const [framing, text] of [
    ['octet_counting', '3 a\nb11 hello world1 x'],
    ['lf', 'a\nhello world\n'],
  ] as const) {
    const whole = new FrameReader(framing).take(Buffer.from(text)).map(String)
    const reader = new FrameReader(framing)
    const single = [...Buffer.from(text)].flatMap((byte) => reader.take(Buffer.from([byte]))).map(String)
    assert.deepEqual(single, whole)
    assert.equal(reader.isInside, false)
    assert.equal(whole.length, framing === 'lf' ? 2 : 3)
  }
  for (const text of ['<34>1 x', '03 abc', '3abc'])
    assert.throws(() => new FrameReader('octet_counting').take(Buffer.from(text)), /MSG-LEN/)
})
