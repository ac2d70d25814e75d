import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { startOtlp } from '../servers/otlp.ts'
import { startTestbed } from '../servers/testbed.ts'

test('a run exports its last figures, its log, and a trace of each object that leads to its batches and back', async () => {
  for (const protocol of ['grpc', 'http'] as const) {
    await using bed = await startTestbed()
    await using receiver = await startOtlp(protocol)
    const keys = ['a', 'b', 'c'].map((name) => `web/${name}.gz`)
    for (const key of keys) bed.s3.put(key, gzipSync('one\ntwo\n'))
    // One that is answered with a failure first: its batch says so.
    let failures = 1
    bed.input.fault = (_, { method }) => (method === 'POST' && failures-- > 0 ? { status: 503 } : undefined)
    writeFileSync(
      bed.config,
      `health: { enabled: false }
otlp: { enabled: true, endpoint: "127.0.0.1:${receiver.port}", protocol: ${protocol}, export_interval: 1h, logs: true, traces: 1 }
pipelines:
  - name: web
    source: { type: s3_scan, bucket: logs, prefix: web/, region: us-east-1, endpoint: "${bed.s3.endpoint}", delay_window: 0s }
    sink: { type: http, endpoints: ["${bed.input.url}"], batch: { linger: 10ms }, retry: { min: 10ms, max: 20ms } }
    state: { file_path: "${join(bed.folder, 'state')}.json" }
`,
    )
    const { code, out, err } = await bed.run(['run', '--once'])
    assert.equal(code, 0, out + err)

    const last = receiver.accepted.findLast(({ signal }) => signal === 'metrics')
    assert.ok(last)
    const figure = (name: string) =>
      receiver.points.findLast((point) => point.name === name && point.labels.pipeline === 'web')?.value
    assert.deepEqual(
      ['records_read_total', 'records_delivered_total', 's3_files_processed_total'].map(figure),
      [6, 6, 3],
    )
    const logged = receiver.logs.map(({ body }) => body)
    for (const line of out.trim().split('\n')) {
      const { msg, level } = JSON.parse(line) as { readonly msg: string; readonly level: string }
      // What is said before and after the export is open cannot be exported.
      if (level === 'warn') assert.ok(logged.includes(msg), line)
    }
    const objects = receiver.spans.filter(({ name }) => name === 'object')
    const batches = receiver.spans.filter(({ name }) => name === 'batch')
    const ids = new Map(receiver.spans.map((span) => [`${span.traceId}/${span.spanId}`, span]))
    assert.deepEqual(objects.map(({ attributes }) => attributes.key).toSorted(), keys)
    for (const { attributes, links } of objects) {
      const { pipeline, bucket, outcome, records_delivered } = attributes
      assert.deepEqual(
        { pipeline, bucket, outcome, records_delivered },
        {
          ...{ pipeline: 'web', bucket: 'logs', outcome: 'done', records_delivered: 2 },
        },
      )
      assert.ok(links.length > 0 && links.every((link) => ids.get(link)?.name === 'batch'))
    }
    assert.ok(batches.every(({ links }) => links.length > 0 && links.every((link) => ids.get(link)?.name === 'object')))
    assert.equal(
      batches.reduce((sum, { attributes }) => sum + Number(attributes.records), 0),
      6,
    )
    assert.equal(
      batches.reduce((sum, { events }) => sum + events.length, 0),
      1,
    )
  }
})
