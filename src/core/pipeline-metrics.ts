/** What every pipeline counts, whatever its source and sink are. */
import type { MetricSpec } from './component.ts'

export const pipelineMetrics = {
  s3_files_processed_total: { kind: 'counter', unit: '{file}', help: 'Objects of which every record is settled.' },
  s3_bytes_processed_total: {
    kind: 'counter',
    unit: 'By',
    help: 'Uncompressed bytes of settled records; of copies the bytes of stored objects.',
  },
  s3_files_errored_total: {
    kind: 'counter',
    unit: '{error}',
    help: 'Attempts at objects that failed or ended in quarantine.',
  },
  s3_processing_latency_seconds: {
    kind: 'histogram',
    unit: 's',
    help: 'From opening an object to the last answer for its records.',
  },
  delivery_delay_seconds: {
    kind: 'histogram',
    unit: 's',
    help: 'From the time of an object (by its name, its records or LastModified) to the last answer for its records. Replays are left out.',
  },
  records_read_total: {
    kind: 'counter',
    unit: '{record}',
    help: 'Records that are settled: the sum of delivered, filtered and quarantined ones, at any moment.',
  },
  records_delivered_total: { kind: 'counter', unit: '{record}', help: 'Records the sink accepted.' },
  records_filtered_total: { kind: 'counter', unit: '{record}', help: 'Records that match, exclude or filter dropped.' },
  records_quarantined_total: { kind: 'counter', unit: '{record}', help: 'Records put in quarantine.' },
  records_recovered_total: {
    kind: 'counter',
    unit: '{record}',
    help: 'Records that had been put in quarantine, and were accepted after a requeue.',
  },
  sink_retries_total: { kind: 'counter', unit: '{retry}', help: 'Batches written again after a transient error.' },
  oversize_records_total: {
    kind: 'counter',
    unit: '{record}',
    help: 'Records longer than line_limit: split, cut or kept out by line_policy.',
  },
  unparsed_keys_total: {
    kind: 'counter',
    unit: '{object}',
    help: 'Objects whose key no format knows; they stream all the same.',
  },
} as const satisfies Record<string, MetricSpec>

export const objectMetrics = {
  objects_total: {
    kind: 'counter',
    unit: '{object}',
    help: 'Attempts at objects that ended, by outcome: done, quarantined, vanished, replaced, failed (tried again), stopped (goes on at the next start).',
    labels: ['outcome'],
  },
} as const satisfies Record<string, MetricSpec>

export const deliveryMetrics = {
  sink_batches_total: { kind: 'counter', unit: '{batch}', help: 'Batches that are settled, split ones once.' },
  sink_write_duration_seconds: {
    kind: 'histogram',
    unit: 's',
    help: 'One attempt to write a batch, failed ones too.',
  },
} as const satisfies Record<string, MetricSpec>

/** Asked for, not counted: brought up to date before they are shown. */
export const gaugeMetrics = {
  in_flight_bytes: { kind: 'gauge', unit: 'By', help: 'Bytes on their way from source to sink.' },
  in_flight_budget_bytes: { kind: 'gauge', unit: 'By', help: 'Most bytes that may be on their way.' },
  sink_batches_in_flight: {
    kind: 'gauge',
    unit: '{batch}',
    help: 'Batches that wait for the sink or are being written; of a copy, parts of objects in memory.',
  },
  objects_in_flight: { kind: 'gauge', unit: '{object}', help: 'Objects that are being read or delivered.' },
  ledger_size_bytes: { kind: 'gauge', unit: 'By', help: 'Size of the files of the ledger.' },
  ledger_last_save_timestamp_seconds: {
    kind: 'gauge',
    unit: 's',
    help: 'When the state was last saved, Unix time; 0 before the first time.',
  },
  ledger_failed_objects: {
    kind: 'gauge',
    unit: '{object}',
    help: 'Objects whose last attempt failed; they are tried again.',
  },
  quarantine_entries: { kind: 'gauge', unit: '{entry}', help: 'Entries of the quarantine.' },
} as const satisfies Record<string, MetricSpec>

export const ledgerMetrics = {
  ledger_save_failures_total: { kind: 'counter', unit: '{failure}', help: 'Saves of the state that failed.' },
} as const satisfies Record<string, MetricSpec>

export const lagMetrics = {
  processing_lag_seconds: {
    kind: 'gauge',
    unit: 's',
    help: 'Age of the oldest object that was found and is not delivered; 0 if there is none. Replays are left out.',
    labels: ['component'],
  },
} as const satisfies Record<string, MetricSpec>

export const endpointMetrics = {
  endpoint_up: {
    kind: 'gauge',
    unit: '1',
    help: '1 if the last use of an endpoint succeeded, or it was not used yet; 0 if it failed or is left alone for a while.',
    labels: ['component', 'endpoint'],
  },
} as const satisfies Record<string, MetricSpec>
