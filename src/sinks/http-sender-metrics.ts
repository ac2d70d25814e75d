/** What all HTTP-shaped sinks count; names and meanings of the seed. */
import type { MetricSpec } from '../core/component.ts'

export const senderMetrics = {
  http_batches_sent_total: { kind: 'counter', unit: '{batch}', help: 'Batches accepted by the receiver.' },
  http_lines_sent_total: { kind: 'counter', unit: '{line}', help: 'Records accepted by the receiver.' },
  http_bytes_sent_total: { kind: 'counter', unit: 'By', help: 'Bytes of accepted batches, before compression.' },
  http_errors_total: { kind: 'counter', unit: '{error}', help: 'Requests that failed, of whatever kind.' },
  http_network_errors_total: {
    kind: 'counter',
    unit: '{error}',
    help: 'Requests without an answer. A kept connection that is found closed is not one: the request is sent once more at once.',
  },
  http_timeout_errors_total: { kind: 'counter', unit: '{error}', help: 'Requests whose answer took too long.' },
  http_server_errors_total: { kind: 'counter', unit: '{error}', help: 'Answers with a status of 500 and above.' },
  http_buffer_drops_total: {
    kind: 'counter',
    unit: '{line}',
    help: 'Records dropped because a buffer was full: always 0, for then reading waits.',
  },
} as const satisfies Record<string, MetricSpec>

export const senderStateMetrics = {
  http_buffer_utilization_ratio: {
    kind: 'gauge',
    unit: '1',
    help: 'How full the sink is: bytes of requests under way, of as many as max_in_flight batches of batch.bytes have. At 1 the receiver sets the pace.',
    labels: ['component'],
  },
  http_active_connections: {
    kind: 'gauge',
    unit: '{connection}',
    help: 'Open connections with a request under way.',
    labels: ['component'],
  },
  http_idle_connections: {
    kind: 'gauge',
    unit: '{connection}',
    help: 'Open connections that wait for the next request.',
    labels: ['component'],
  },
  http_request_duration_seconds: {
    kind: 'histogram',
    unit: 's',
    help: 'From sending a request to its answer, failures too.',
    labels: ['component'],
  },
} as const satisfies Record<string, MetricSpec>
