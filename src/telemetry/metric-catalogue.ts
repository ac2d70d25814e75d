/**
 * All metrics of the program in one value: the reference page is made from it, and dashboards and alerts are checked against it.
 * The tables stay with what counts them. Not for the running program: it would load every component.
 */
import type { MetricSpec } from '../core/component.ts'
import {
  deliveryMetrics,
  endpointMetrics,
  gaugeMetrics,
  lagMetrics,
  ledgerMetrics,
  objectMetrics,
  pipelineMetrics,
} from '../core/pipeline-metrics.ts'
import { replayMetrics, replayObjectMetrics } from '../core/replay-metrics.ts'
import { shapeMetrics } from '../filters/shape.ts'
import { elasticsearchMetrics } from '../sinks/elasticsearch.ts'
import { fileMetrics as fileSinkMetrics } from '../sinks/file.ts'
import { gelfMetrics } from '../sinks/gelf.ts'
import { senderMetrics, senderStateMetrics } from '../sinks/http-sender-metrics.ts'
import { kafkaMetrics } from '../sinks/kafka-delivery.ts'
import { s3RecordMetrics } from '../sinks/s3-records.ts'
import { s3ObjectMetrics } from '../sinks/s3-upload-verify.ts'
import { stdoutMetrics } from '../sinks/stdout.ts'
import { syslogMetrics } from '../sinks/syslog.ts'
import { afterMetrics, fileMetrics as fileSourceMetrics, skipMetrics } from '../sources/file-tally.ts'
import { scanMetrics } from '../sources/s3-scan-figures.ts'
import { sqsMetrics } from '../sources/s3-sqs-messages.ts'
import { sftpMetrics } from '../sources/sftp-figures.ts'
import { logMetrics } from './log-metrics.ts'
import { otlpDropMetrics, otlpExportMetrics } from './otlp-sender.ts'
import { infoMetrics, meterMetrics, processMetrics, processWriteMetrics } from './process-metrics.ts'
import { finishMetrics } from './pushgateway.ts'
import { lastReloadMetrics, pipelineUpMetrics, reloadMetrics } from './streamer-metrics.ts'
import {
  seedTransferMetrics,
  seedWriteMetrics,
  transferFileMetrics,
  transferMetrics,
  transferRetryMetrics,
} from './transfer-metrics.ts'

export interface MetricGroup {
  /** Heading of its part of the reference page. */
  readonly title: string
  /** Who has these metrics, and when. */
  readonly about: string
  /** True if each series has the label `pipeline`. */
  readonly isPerPipeline: boolean
  readonly tables: ReadonlyArray<Readonly<Record<string, MetricSpec>>>
}

export const metricCatalogue: readonly MetricGroup[] = [
  {
    title: 'Pipeline',
    about: 'Every pipeline.',
    isPerPipeline: true,
    tables: [
      pipelineUpMetrics,
      pipelineMetrics,
      objectMetrics,
      deliveryMetrics,
      lagMetrics,
      gaugeMetrics,
      ledgerMetrics,
      endpointMetrics,
      shapeMetrics,
    ],
  },
  {
    title: 'Process',
    about: 'Once for the process.',
    isPerPipeline: false,
    tables: [
      infoMetrics,
      processMetrics,
      processWriteMetrics,
      meterMetrics,
      reloadMetrics,
      lastReloadMetrics,
      logMetrics,
      otlpExportMetrics,
      otlpDropMetrics,
    ],
  },
  {
    title: 'End of a run',
    about: 'Only in what is pushed last to a Pushgateway.',
    isPerPipeline: false,
    tables: [finishMetrics],
  },
  {
    title: 'Replays',
    about: 'Every pipeline, of ranges that are read again.',
    isPerPipeline: true,
    tables: [replayMetrics, replayObjectMetrics],
  },
  {
    title: 'Source: s3_scan',
    about: 'Pipelines with the source `s3_scan`.',
    isPerPipeline: true,
    tables: [scanMetrics],
  },
  {
    title: 'Source: s3_sqs',
    about: 'Pipelines with the source `s3_sqs`.',
    isPerPipeline: true,
    tables: [sqsMetrics],
  },
  {
    title: 'Sources: sftp, directory',
    about: 'Pipelines that read files.',
    isPerPipeline: true,
    tables: [fileSourceMetrics, skipMetrics, afterMetrics],
  },
  { title: 'Source: sftp', about: 'Besides those of all files.', isPerPipeline: true, tables: [sftpMetrics] },
  {
    title: 'Sinks: edgedelta, http, elasticsearch, gelf over HTTP',
    about: 'Sinks that send HTTP requests.',
    isPerPipeline: true,
    tables: [senderMetrics, senderStateMetrics],
  },
  {
    title: 'Sink: elasticsearch',
    about: 'Besides those of all HTTP sinks.',
    isPerPipeline: true,
    tables: [elasticsearchMetrics],
  },
  { title: 'Sink: kafka', about: 'Pipelines with the sink `kafka`.', isPerPipeline: true, tables: [kafkaMetrics] },
  { title: 'Sink: gelf', about: 'Pipelines with the sink `gelf`.', isPerPipeline: true, tables: [gelfMetrics] },
  { title: 'Sink: syslog', about: 'Pipelines with the sink `syslog`.', isPerPipeline: true, tables: [syslogMetrics] },
  {
    title: 'Sink: s3',
    about: 'Objects with `mode: objects`, records with `mode: records`.',
    isPerPipeline: true,
    tables: [s3ObjectMetrics, s3RecordMetrics],
  },
  { title: 'Sink: file', about: 'Pipelines with the sink `file`.', isPerPipeline: true, tables: [fileSinkMetrics] },
  { title: 'Sink: stdout', about: 'Pipelines with the sink `stdout`.', isPerPipeline: true, tables: [stdoutMetrics] },
  {
    title: 'Copies',
    about:
      'Pipelines that copy whole objects, and `copy`. The names with `sftp_s3_` are those of the SFTP-to-S3 streamer.',
    isPerPipeline: true,
    tables: [transferMetrics, transferFileMetrics, transferRetryMetrics, seedTransferMetrics, seedWriteMetrics],
  },
]
