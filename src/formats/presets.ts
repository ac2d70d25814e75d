/** Built-in formats, in the order in which they are tried. A configured format of the same name takes a preset's place. */
import { type Head, linesLike, recordLines } from './head.ts'
import type { Preset } from './preset.ts'
import { accessFields, umbrellaFields } from './preset-fields.ts'
import { awsPresets } from './presets-aws.ts'
import type { Timestamp } from './timestamp.ts'

const ndjson = 'application/x-ndjson'
const text = 'text/plain'

/** The usual ways to write a date and time with dashes and colons. */
const dateTimes = [
  '2006-01-02T15:04:05Z07:00',
  '2006-01-02T15:04:05Z0700',
  '2006-01-02T15:04:05',
  '2006-01-02 15:04:05Z07:00',
  '2006-01-02 15:04:05',
]
const jsonTimeText: Timestamp = {
  regex: '"(?:@?timestamp|time|ts|datetime|eventTime)"\\s*:\\s*"([^"]+)"',
  formats: dateTimes,
}
const jsonTimeTextShape = /"(?:@?timestamp|time|ts|datetime|eventTime)"\s*:\s*"\d{4}-\d\d-\d\d[T ]/

const accessTime: Timestamp = {
  regex: '\\[(\\d{2}/[A-Za-z]{3}/\\d{4}:\\d{2}:\\d{2}:\\d{2} [+-]\\d{4})\\] "',
  formats: ['02/Jan/2006:15:04:05 -0700'],
}

const first = (head: Head): string => recordLines(head, 0, 1)[0] ?? ''

const accessLike = (head: Head) =>
  linesLike(head, /^\S+ \S+ \S.{0,200}? \[\d\d\/[A-Z][a-z]{2}\/\d{4}:[\d:]{8} [+-]\d{4}\] "/)

/** A row whose first field is a date and time. `10:00:00,123 INFO …` is no row: its comma is a decimal sign. */
const datedRow = /^"?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?!,\d{3}[^\d,])(?:\.\d+)?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?"?,/

/** Umbrella's columns. The header is named and not dated, so no row of data can be taken for it. */
function isUmbrellaHeader(line: string): boolean {
  const found = ['timestamp', 'domain', 'action', 'identit', 'categor'].filter((word) =>
    line.toLowerCase().includes(word),
  )
  return found.length >= 2 && line.includes(',') && !/^"?\d/.test(line) && !/^[[{]/.test(line)
}

export const presets: readonly Preset[] = [
  {
    name: 'zscaler',
    glob: '[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]_*_*_*',
    contentType: ndjson,
    decoder: 'auto',
    keyTimes: [{ regex: '^(\\d{10})_[^_/]+_[^_/]+_[^/]+$', formats: ['unix'] }],
    contentTimes: [
      { regex: '"(?:epochtime|time)"\\s*:\\s*"?(\\d{10})\\b', formats: ['unix'] },
      { regex: '"(?:datetime|time)"\\s*:\\s*"([^"]+)"', formats: ['Mon Jan _2 15:04:05 2006', ...dateTimes] },
    ],
    // Feeds are NDJSON as a rule; a feed set up as text has the same names.
    trustsKey: true,
    likeness: (head) => (head.json ? 'weak' : 'none'),
  },
  {
    name: 'cisco_umbrella',
    glob: '[0-9][0-9][0-9][0-9]-*-*-*-*-*.csv*',
    contentType: text,
    decoder: 'lines',
    fieldSeparator: ',',
    fieldNames: (head) => umbrellaFields(first(head)),
    keyTimes: [{ regex: '^(\\d{4}-\\d{1,2}-\\d{1,2}-\\d{1,2}-\\d{1,2})-', formats: ['2006-1-2-15-4'] }],
    contentTimes: [{ regex: '^"?(\\d{4}-\\d{2}-\\d{2} \\d{2}:\\d{2}:\\d{2})', formats: ['2006-01-02 15:04:05'] }],
    skipHeaderLines: 1,
    hasHeader: (head) => isUmbrellaHeader(head.lines[0] ?? ''),
    likeness(head) {
      if (isUmbrellaHeader(head.lines[0] ?? '')) return 'strong'
      return datedRow.test(first(head)) ? 'weak' : 'none'
    },
  },
  ...awsPresets,
  {
    name: 'nginx_access',
    glob: '{nginx/*access*.log*,*nginx*access*log*}',
    contentType: text,
    decoder: 'lines',
    fieldSeparator: ' ',
    fieldNames: (head) => accessFields(first(head)),
    keyTimes: [],
    contentTimes: [accessTime],
    likeness: accessLike,
  },
  {
    name: 'apache_combined',
    glob: '*access[._]log*',
    contentType: text,
    decoder: 'lines',
    fieldSeparator: ' ',
    fieldNames: (head) => accessFields(first(head)),
    keyTimes: [],
    contentTimes: [accessTime],
    likeness: accessLike,
  },
  {
    name: 'syslog_rfc3164',
    glob: '{*.log*,syslog*,messages*}',
    contentType: text,
    decoder: 'lines',
    keyTimes: [],
    contentTimes: [
      { regex: '^(?:<\\d{1,3}>)?([A-Z][a-z]{2} [ \\d]\\d \\d{2}:\\d{2}:\\d{2}) ', formats: ['Jan _2 15:04:05'] },
    ],
    likeness: (head) => linesLike(head, /^(?:<\d{1,3}>)?[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ /),
  },
  {
    name: 'app_json_iso',
    glob: 'app-*.json*',
    contentType: ndjson,
    decoder: 'auto',
    keyTimes: [],
    contentTimes: [jsonTimeText],
    likeness: (head) => (head.json && jsonTimeTextShape.test(head.text) ? 'strong' : 'none'),
  },
  {
    name: 'kubernetes',
    glob: '*.log*',
    contentType: ndjson,
    decoder: 'auto',
    keyTimes: [],
    contentTimes: [jsonTimeText],
    likeness: (head) => (head.json && jsonTimeTextShape.test(head.text) ? 'strong' : 'none'),
  },
  {
    name: 'json_unix',
    glob: '*.json*',
    contentType: ndjson,
    decoder: 'auto',
    keyTimes: [],
    contentTimes: [
      { regex: '"(?:@?timestamp|time|ts)"\\s*:\\s*"?(\\d{10}(?:\\.\\d+)?)\\b', formats: ['unix'] },
      { regex: '"(?:@?timestamp|time|ts)"\\s*:\\s*"?(\\d{13})\\b', formats: ['unix_ms'] },
    ],
    likeness: (head) =>
      head.json && /"(?:@?timestamp|time|ts)"\s*:\s*"?(?:\d{10}|\d{13})(?!\d)/.test(head.text) ? 'strong' : 'none',
  },
  {
    name: 'generic_csv',
    glob: '*.csv*',
    contentType: text,
    decoder: 'csv',
    fieldSeparator: ',',
    keyTimes: [],
    contentTimes: [{ regex: '^"?(\\d{4}-\\d{2}-\\d{2}[T ]\\d{2}:\\d{2}:\\d{2}[^",]*)', formats: dateTimes }],
    skipHeaderLines: 1,
    hasHeader: (head) => !datedRow.test(head.lines[0] ?? '') && datedRow.test(head.lines[1] ?? ''),
    likeness: (head) => (recordLines(head, 0, 2).some((line) => datedRow.test(line)) ? 'strong' : 'none'),
  },
  {
    name: 'text_iso',
    glob: '*.log*',
    contentType: text,
    decoder: 'lines',
    keyTimes: [],
    contentTimes: [
      {
        regex: '(\\d{4}-\\d{2}-\\d{2}[T ]\\d{2}:\\d{2}:\\d{2}(?:[.,]\\d+)?(?:Z|[+-]\\d{2}:?\\d{2})?)',
        formats: dateTimes,
      },
    ],
    likeness: (head) => linesLike(head, /^\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d/),
  },
]
