/** Every component the program knows, in the order of the reference pages. */
import type { Registry } from './core/component.ts'
import { edgedeltaSink } from './sinks/edgedelta.ts'
import { elasticsearchSink } from './sinks/elasticsearch.ts'
import { fileSink } from './sinks/file.ts'
import { gelfSink } from './sinks/gelf.ts'
import { httpSink } from './sinks/http.ts'
import { kafkaSink } from './sinks/kafka.ts'
import { s3Sink } from './sinks/s3.ts'
import { stdoutSink } from './sinks/stdout.ts'
import { syslogSink } from './sinks/syslog.ts'
import { directorySource } from './sources/directory.ts'
import { s3ScanSource } from './sources/s3-scan.ts'
import { s3SqsSource } from './sources/s3-sqs.ts'
import { sftpSource } from './sources/sftp.ts'

export const registry: Registry = {
  sources: [s3ScanSource, s3SqsSource, sftpSource, directorySource],
  sinks: [edgedeltaSink, httpSink, kafkaSink, elasticsearchSink, gelfSink, syslogSink, s3Sink, fileSink, stdoutSink],
}
