/** Metrics of the connections to an SFTP server. */
import type { MetricSpec } from '../core/component.ts'

export const sftpMetrics = {
  sftp_sessions: { kind: 'gauge', unit: '{connection}', help: 'Connections to the SFTP server that are open.' },
  sftp_connects_total: {
    kind: 'counter',
    unit: '{connection}',
    help: 'Connections made to the SFTP server; many of them mean that connections break.',
  },
  sftp_connect_failures_total: {
    kind: 'counter',
    unit: '{attempt}',
    help: 'Attempts to connect to the SFTP server, or to log in there, that failed.',
  },
  sftp_bytes_read_total: {
    kind: 'counter',
    unit: 'By',
    help: 'Bytes of files that the SFTP server sent, repeated ones too.',
  },
} as const satisfies Record<string, MetricSpec>
