/** Every component the program knows, in the order of the reference pages. */
import type { Registry } from './core/component.ts'
import { edgedeltaSink } from './sinks/edgedelta.ts'
import { httpSink } from './sinks/http.ts'
import { s3ScanSource } from './sources/s3-scan.ts'
import { s3SqsSource } from './sources/s3-sqs.ts'

export const registry: Registry = {
  sources: [s3ScanSource, s3SqsSource],
  sinks: [edgedeltaSink, httpSink],
}
