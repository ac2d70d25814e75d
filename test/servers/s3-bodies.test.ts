import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { cloudTrail, countLines, gzipped, plainLineSegments, SegmentedBody } from './s3-bodies.ts'

test('a body of repeated blocks reads the same from any offset, plain and as one gzip member', () => {
  const { segments, records } = cloudTrail(3_000_000)
  const body = new SegmentedBody(segments)
  const whole = Buffer.concat([...body.slices()])
  assert.equal(whole.length, body.size)
  assert.equal(whole.indexOf(10), -1)
  assert.equal((JSON.parse(whole.toString()) as { Records: unknown[] }).Records.length, records)
  const ranges: ReadonlyArray<readonly [number, number]> = [
    [0, 1],
    [14, 700_001],
    [body.size - 3, body.size],
    [1_050_000, 2_200_000],
  ]
  for (const [start, end] of ranges) {
    assert.ok(Buffer.concat([...body.slices(start, end)]).equals(whole.subarray(start, end)), `${start}-${end}`)
  }
  assert.ok(gunzipSync(Buffer.concat([...gzipped(segments).slices()])).equals(whole))
})

test('the lines of a plain body are counted without reading it', () => {
  const segments = plainLineSegments(500_000)
  const text = Buffer.concat([...new SegmentedBody(segments).slices()]).toString()
  assert.equal(text.split('\n').length - 1, countLines(segments))
  assert.ok(text.length >= 500_000 && text.endsWith('\n'))
})
