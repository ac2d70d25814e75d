import assert from 'node:assert/strict'
import { test } from 'node:test'
import { faultsOf, selectorsOf } from './promql.ts'

test('selectors are found with their labels and the function they are the argument of, groupings apart', () => {
  const { selectors, grouped } = selectorsOf(
    '60 * sum by (type, pipeline) (rate(transfer_retries_total{job=~"$job",pipeline!="by (x)"}[$__rate_interval])) unless on (job) max(up offset 15m) == 0 or vector(0)',
  )
  assert.deepEqual(selectors, [
    { metric: 'transfer_retries_total', labels: ['job', 'pipeline'], over: 'rate' },
    { metric: 'up', labels: [], over: undefined },
  ])
  assert.deepEqual(grouped, ['type', 'pipeline', 'job'])
})

test('what no series can answer is told', () => {
  const cases: ReadonlyArray<readonly [string, readonly string[]]> = [
    ['sum(rate(records_read_total{pipeline="a"}[5m]))', []],
    ['histogram_quantile(0.9, sum by (le) (rate(sink_write_duration_seconds_bucket[5m])))', []],
    ['records_raed_total', ['there is no metric records_raed_total']],
    ['objects_total{result="done"}', ['objects_total has no label result']],
    ['rate(in_flight_bytes[5m])', ['rate of in_flight_bytes, which is a gauge']],
    ['deriv(records_read_total[5m])', ['deriv of records_read_total, which is no gauge']],
    ['sum by (endpoint) (records_read_total)', ['no series has the label endpoint']],
    ['sink_write_duration_seconds > 1', ['there is no metric sink_write_duration_seconds']],
    ['process_resident_memory_bytes{pipeline="a"}', ['process_resident_memory_bytes has no label pipeline']],
    ['vector(1)', ['asks for no metric']],
  ]
  for (const [expression, faults] of cases) assert.deepEqual(faultsOf(expression), faults, expression)
})
