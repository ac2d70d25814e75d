/** Built-in formats of logs that AWS services write to S3. Keys and lines are as the services' user guides document them. */
import { type Head, type Likeness, linesLike } from './head.ts'
import type { Preset } from './preset.ts'
import { albFields, clbFields, flowFields, nlbFields, s3Fields } from './preset-fields.ts'
import type { Timestamp } from './timestamp.ts'

const ndjson = 'application/x-ndjson'
const text = 'text/plain'
const iso = ['2006-01-02T15:04:05Z07:00', '2006-01-02T15:04:05']

/** Vended logs have the end of their interval in the key, to the minute: `_20240115T1000Z_`. The globs name the service. */
const vendedTime: Timestamp = { regex: '_(\\d{8}T\\d{4}Z)_', formats: ['20060102T1504Z'] }

const jsonWith = (head: Head, ...marks: readonly RegExp[]): Likeness =>
  head.json && marks.every((mark) => mark.test(head.text)) ? 'strong' : 'none'

const defaultFlowFields = flowFields.join(' ')

const flowHeader = (head: Head): string | undefined => {
  const first = head.lines[0]?.trim() ?? ''
  const fields = first.split(' ')
  const known = ['srcaddr', 'dstaddr', 'interface-id', 'pkt-srcaddr', 'pkt-dstaddr', 'account-id', 'log-status']
  return /^[a-z][a-z0-9 -]*$/.test(first) && fields.filter((field) => known.includes(field)).length >= 2
    ? first
    : undefined
}

export const awsPresets: readonly Preset[] = [
  {
    name: 'cloudtrail',
    glob: '*_CloudTrail*_*.json*',
    contentType: ndjson,
    decoder: 'json',
    recordsPath: 'Records',
    keyTimes: [
      {
        regex: '_CloudTrail(?:-[A-Za-z]+)?_[^_]+_(\\d{8}T\\d{4}(?:\\d{2})?Z)',
        formats: ['20060102T1504Z', '20060102T150405Z'],
      },
    ],
    contentTimes: [{ regex: '"eventTime"\\s*:\\s*"([^"]+)"', formats: iso }],
    likeness(head) {
      if (!/^\s*\{\s*"Records"\s*:\s*\[/.test(head.text)) return 'none'
      return /"eventVersion"\s*:|"eventSource"\s*:/.test(head.text) ? 'strong' : 'weak'
    },
  },
  {
    name: 'guardduty',
    glob: 'GuardDuty/**/*.jsonl*',
    contentType: ndjson,
    decoder: 'auto',
    keyTimes: [],
    contentTimes: [{ regex: '"(?:updatedAt|createdAt)"\\s*:\\s*"([^"]+)"', formats: iso }],
    likeness: (head) => jsonWith(head, /"schemaVersion"\s*:/, /"detectorId"\s*:|"serviceName"\s*:\s*"guardduty"/),
  },
  {
    name: 'aws_waf',
    glob: '{*_waflogs_*,aws-waf-logs-*}',
    contentType: ndjson,
    decoder: 'auto',
    keyTimes: [
      vendedTime,
      { regex: '-(\\d{4}-\\d{2}-\\d{2}-\\d{2}-\\d{2}-\\d{2})-[0-9a-f]{8}-', formats: ['2006-01-02-15-04-05'] },
    ],
    contentTimes: [{ regex: '"timestamp"\\s*:\\s*(\\d{13})\\b', formats: ['unix_ms'] }],
    likeness: (head) => jsonWith(head, /"webaclId"\s*:/i, /"terminatingRuleId"\s*:|"formatVersion"\s*:/),
  },
  {
    name: 'route53_resolver',
    glob: '*_vpcdnsquerylogs_*',
    contentType: ndjson,
    decoder: 'auto',
    keyTimes: [vendedTime],
    contentTimes: [{ regex: '"query_timestamp"\\s*:\\s*"([^"]+)"', formats: iso }],
    likeness: (head) => jsonWith(head, /"query_timestamp"\s*:/, /"query_name"\s*:/),
  },
  {
    name: 'lambda',
    glob: '[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]-[0-9][0-9][0-9][0-9][0-9][0-9].json*',
    contentType: ndjson,
    decoder: 'auto',
    keyTimes: [{ regex: '^(\\d{8}-\\d{6})\\.json', formats: ['20060102-150405'] }],
    contentTimes: [{ regex: '"(?:@?timestamp|time)"\\s*:\\s*"([^"]+)"', formats: iso }],
    likeness(head) {
      if (!head.json) return 'none'
      return /"requestId"\s*:/.test(head.text) &&
        /"(?:function|log_group|logGroup|functionName)"\s*:|"type"\s*:\s*"platform\./.test(head.text)
        ? 'strong'
        : 'weak'
    },
  },
  {
    name: 'vpc_flow',
    glob: '*_vpcflowlogs_*',
    contentType: text,
    decoder: 'lines',
    fieldSeparator: ' ',
    fieldNames: () => flowFields,
    keyTimes: [vendedTime],
    contentTimes: [{ regex: '^2(?: \\S+){9} (\\d{10}) \\d{10} ', formats: ['unix'] }],
    skipHeaderLines: 1,
    hasHeader: (head) => head.lines[0]?.trim() === defaultFlowFields,
    likeness(head) {
      if (flowHeader(head) === defaultFlowFields) return 'strong'
      return linesLike(head, /^2 (?:\d{12}|unknown|-) eni-\S+(?: \S+){7} \d{10} \d{10} \S+ (?:OK|NODATA|SKIPDATA)$/)
    },
  },
  {
    name: 'vpc_flow_header',
    glob: '*_vpcflowlogs_*',
    contentType: text,
    decoder: 'csv',
    fieldSeparator: ' ',
    keyTimes: [vendedTime],
    // Which column is the time only the header tells; a number that looks like one may count bytes.
    contentTimes: [],
    skipHeaderLines: 1,
    hasHeader: (head) => flowHeader(head) !== undefined,
    likeness: (head) => ([undefined, defaultFlowFields].includes(flowHeader(head)) ? 'none' : 'strong'),
  },
  {
    name: 'alb_access',
    glob: '*_elasticloadbalancing_*_app.*',
    contentType: text,
    decoder: 'lines',
    fieldSeparator: ' ',
    fieldNames: () => albFields,
    keyTimes: [vendedTime],
    contentTimes: [{ regex: '^[a-z0-9]+ (\\d{4}-\\d{2}-\\d{2}T[0-9:.]+Z) ', formats: iso }],
    likeness: (head) => linesLike(head, /^(?:https?|h2|grpcs|wss?) \d{4}-\d\d-\d\dT[\d:.]+Z \S+ \S+:\d+ /),
  },
  {
    name: 'nlb_access',
    glob: '*_elasticloadbalancing_*_net.*',
    contentType: text,
    decoder: 'lines',
    fieldSeparator: ' ',
    fieldNames: () => nlbFields,
    keyTimes: [vendedTime],
    contentTimes: [{ regex: '^[a-z]+ \\d\\.\\d (\\d{4}-\\d{2}-\\d{2}T[0-9:.]+Z?) ', formats: iso }],
    likeness: (head) => linesLike(head, /^tls \d\.\d \d{4}-\d\d-\d\dT[\d:.]+Z? net\/\S+ /),
  },
  {
    name: 'elb_access',
    glob: '*_elasticloadbalancing_*',
    contentType: text,
    decoder: 'lines',
    fieldSeparator: ' ',
    fieldNames: () => clbFields,
    keyTimes: [vendedTime],
    contentTimes: [{ regex: '^(\\d{4}-\\d{2}-\\d{2}T[0-9:.]+Z) ', formats: iso }],
    likeness: (head) =>
      linesLike(head, /^\d{4}-\d\d-\d\dT[\d:.]+Z \S+ \S+:\d+ (?:\S+:\d+|-)(?: -?[\d.]+){3} (?:\d{3}|-) /),
  },
  {
    name: 'cloudfront',
    glob: '*.[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]-[0-9][0-9].*',
    contentType: text,
    decoder: 'w3c',
    fieldSeparator: '\t',
    keyTimes: [{ regex: '\\.(\\d{4}-\\d{2}-\\d{2}-\\d{2})\\.[0-9A-Za-z]+(?:\\.|$)', formats: ['2006-01-02-15'] }],
    contentTimes: [{ regex: '^(\\d{4}-\\d{2}-\\d{2}\\t\\d{2}:\\d{2}:\\d{2})', formats: ['2006-01-02\t15:04:05'] }],
    likeness(head) {
      if (/^#Version:/.test(head.text) && /^#Fields:.* x-edge-location /m.test(head.text)) return 'strong'
      return linesLike(head, /^\d{4}-\d\d-\d\d\t\d\d:\d\d:\d\d\t[A-Z]{3}\d+(?:-[A-Z]\d+)?\t/)
    },
  },
  {
    name: 's3_access',
    glob: '*[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]-[0-9][0-9]-[0-9][0-9]-[0-9][0-9]-????????????????*',
    contentType: text,
    decoder: 'lines',
    fieldSeparator: ' ',
    fieldNames: () => s3Fields,
    keyTimes: [
      { regex: '(\\d{4}-\\d{2}-\\d{2}-\\d{2}-\\d{2}-\\d{2})-[0-9A-F]{16}(?:\\.|$)', formats: ['2006-01-02-15-04-05'] },
    ],
    contentTimes: [
      {
        regex: '\\[(\\d{2}/[A-Za-z]{3}/\\d{4}:\\d{2}:\\d{2}:\\d{2} [+-]\\d{4})\\]',
        formats: ['02/Jan/2006:15:04:05 -0700'],
      },
    ],
    likeness: (head) =>
      linesLike(
        head,
        /^\S+ \S+ \[\d\d\/[A-Z][a-z]{2}\/\d{4}:[\d:]+ [+-]\d{4}\] \S+ \S+ \S+ (?:REST|WEBSITE|S3|BATCH|SOAP)\.\S+ /,
      ),
  },
  {
    name: 'rds_mysql_slow',
    glob: 'mysql-slowquery.log*',
    contentType: text,
    decoder: 'lines',
    multilineStart: '^# Time: ',
    keyTimes: [{ regex: 'mysql-slowquery\\.log\\.(\\d{4}-\\d{2}-\\d{2}\\.\\d{2})', formats: ['2006-01-02.15'] }],
    contentTimes: [
      { regex: '^# Time: (\\d{4}-\\d{2}-\\d{2}T\\S+)', formats: iso },
      { regex: '^# Time: (\\d{6}\\s+\\d{1,2}:\\d{2}:\\d{2})', formats: ['060102 15:04:05'] },
    ],
    likeness: (head) =>
      /^# Time: \d/m.test(head.text) && /^# (?:User@Host|Query_time): /m.test(head.text) ? 'strong' : 'none',
  },
  {
    name: 'rds_postgres',
    glob: 'postgresql.log*',
    contentType: text,
    decoder: 'lines',
    multilineStart: '^\\d{4}-\\d{2}-\\d{2} \\d{2}:\\d{2}:\\d{2}(?:\\.\\d+)? [A-Z]{3,5}[: ]',
    keyTimes: [
      {
        regex: 'postgresql\\.log\\.(\\d{4}-\\d{2}-\\d{2}-\\d{2}(?:\\d{2})?)(?:\\.|$)',
        formats: ['2006-01-02-1504', '2006-01-02-15'],
      },
    ],
    contentTimes: [
      {
        regex: '^(\\d{4}-\\d{2}-\\d{2} \\d{2}:\\d{2}:\\d{2}(?:\\.\\d+)? [A-Z]{3,5})[: ]',
        formats: ['2006-01-02 15:04:05 MST'],
      },
    ],
    likeness: (head) => linesLike(head, /^\d{4}-\d\d-\d\d [\d:.]+ [A-Z]{3,5}:[^:]*(?:\(\d+\))?:[^:]*:\[\d+\]:[A-Z]+: /),
  },
]
