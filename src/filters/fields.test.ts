import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import type * as z from 'zod'
import { decodeAll, formatOf } from '../../test/conformance/decoder.ts'
import { StreamError } from '../core/errors.ts'
import { createFormats } from '../formats/compile.ts'
import type { Format } from '../formats/format.ts'
import { presetExamples } from '../formats/preset-examples.ts'
import { formatSchema } from '../formats/schema.ts'
import { fieldAt, fieldReader } from './fields.ts'

const readerOf = (format: Partial<Format>, sample = '') =>
  fieldReader({ format: formatOf(format), sample: Buffer.from(sample) })
const read = (format: Partial<Format>, record: string, sample = '') =>
  readerOf(format, sample).read(Buffer.from(record))
const csv = { decoder: 'csv', fieldSeparator: ',' } as const
const spaced = { decoder: 'lines', fieldSeparator: ' ' } as const

/** Fields of the last line of a built-in format's example, with the format chosen as for an object. */
function exampleFields(name: string) {
  const example = presetExamples.find(({ format }) => format === name)
  assert.ok(example, name)
  const sample = Buffer.from(`${example.lines.join('\n')}\n`)
  const { format } = createFormats([]).select(example.key, sample)
  assert.equal(format.name, name)
  return fieldReader({ format, sample }).read(Buffer.from(example.lines.at(-1) ?? ''))
}

test('a JSON object gives its own fields, whatever the format', () => {
  const record = ' {"status":503,"user":{"name":"Zoë"},"tags":["a"],"none":null}\r'
  const fields = { status: 503, user: { name: 'Zoë' }, tags: ['a'], none: null }
  for (const format of [{}, { decoder: 'json' }, csv, spaced, { decoder: 'w3c' }] as const) {
    assert.deepEqual(read(format, record), fields)
  }
  assert.equal(readerOf({}).cut, undefined)
})

test('text, arrays and blank records have no fields', () => {
  for (const record of ['GET / 200', '[1,2]', '"text"', '12', '', '   ']) {
    assert.deepEqual(read({}, record), {})
    assert.deepEqual(read({ decoder: 'json', fieldSeparator: ',' }, record), {})
  }
})

test('a record that begins like a JSON object and is none is an error that tells nothing of its content', () => {
  for (const record of ['{"secret":"hunter2", x', '{', '{"a":1}}', '{"a":1} {"b":2}']) {
    assert.throws(
      () => read({}, record),
      (error) =>
        error instanceof StreamError &&
        error.code === 'filter.failed' &&
        error.cause === undefined &&
        /^cannot read fields: the record begins like a JSON object and is none/.test(error.message) &&
        !error.message.includes('hunter2'),
    )
  }
})

test('in delimited text a first field like {guid} does not make the record JSON', () => {
  const reader = readerOf({ ...csv, fieldNames: ['id', 'n'] })
  assert.deepEqual(reader.read(Buffer.from('{3F25-04E0},1')), { id: '{3F25-04E0}', n: 1 })
  assert.equal(reader.isJson(Buffer.from('{3F25-04E0},1')), false)
  assert.equal(reader.isJson(Buffer.from('{"id":1} ')), true)
})

test('invalid UTF-8 in a record is replaced in its fields and breaks nothing', () => {
  const json = Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xff]), Buffer.from('"}')])
  assert.deepEqual(readerOf({}).read(json), { a: '\ufffd' })
  const row = Buffer.concat([Buffer.from([0xff]), Buffer.from(',é')])
  assert.deepEqual(readerOf({ ...csv, fieldNames: ['a', 'b'] }).read(row), { a: '\ufffd', b: 'é' })
})

test('names come from the format, else the header, else #Fields, else the position', () => {
  const header = 'time,sc-status,,time,__proto__\n1,2,3\n'
  assert.deepEqual(read({ ...csv, fieldNames: ['a'], skipHeaderLines: 1 }, 'x,y', header), { a: 'x', field2: 'y' })
  assert.deepEqual(read({ ...csv, skipHeaderLines: 1 }, 'a,b,c,d,e,f', header), {
    time: 'a',
    'sc-status': 'b',
    field3: 'c',
    field4: 'd',
    field5: 'e',
    field6: 'f',
  })
  assert.deepEqual(read(csv, 'a,b', header), { field1: 'a', field2: 'b' })
  assert.deepEqual(read({ ...csv, skipHeaderLines: 1 }, 'a', header), { time: 'a' })
})

test('the header is the last line that the decoder drops, quotes, CRLF and line ends in quotes included', async () => {
  const object = 'made by x\r\n"the ""one""","two\r\nlines", three\r\n1,2,3\r\n'
  const format = { ...csv, skipHeaderLines: 2 }
  assert.deepEqual((await decodeAll(Buffer.from(object), { format })).records, ['1,2,3'])
  assert.deepEqual(read(format, '1,2,3', object), { 'the "one"': 1, 'two\r\nlines': 2, three: 3 })
  const lines = { ...format, decoder: 'lines' } as const
  assert.deepEqual(read(lines, '1,2', 'x\n"a,b",c\n'), { 'a,b': 1, c: 2 })
})

test('a header that is not whole in the sample names nothing', () => {
  assert.deepEqual(read({ ...csv, skipHeaderLines: 1 }, '1', 'time,sta'), { field1: 1 })
  assert.deepEqual(read({ ...csv, skipHeaderLines: 1 }, '1'), { field1: 1 })
})

test('the separator of csv is guessed as the decoder does', () => {
  assert.deepEqual(read({ decoder: 'csv', skipHeaderLines: 1 }, '1;"a;b"', 'x;y\n1;2\n'), { x: 1, y: 'a;b' })
})

test('w3c: the names of #Fields, for blanks and for tabs; no quoting; - is no value', () => {
  const iis = '#Software: IIS\r\n#Fields: date s-ip cs(User-Agent) sc-status\r\n2024-01-15 - "Moz+5 200\r\n'
  assert.deepEqual(read({ decoder: 'w3c' }, '2024-01-15 - "Moz+5 200', iis), {
    date: '2024-01-15',
    'cs(User-Agent)': '"Moz+5',
    'sc-status': 200,
  })
  const cloudfront = '#Version: 1.0\n#Fields: date time x-host\n2024-01-15\t10:00:00\ta b\n'
  assert.deepEqual(read({ decoder: 'w3c' }, '2024-01-15\t10:00:00\ta b', cloudfront), {
    date: '2024-01-15',
    time: '10:00:00',
    'x-host': 'a b',
  })
  assert.deepEqual(read({ decoder: 'w3c' }, 'a b'), { field1: 'a', field2: 'b' })
})

test('decimal numbers become numbers, identifiers stay text', () => {
  const values = (row: string) => Object.values(read(csv, row))
  assert.deepEqual(
    values('0,7,-7,200,0.001,-0.5,999999999999999,0.30000000000000'),
    [0, 7, -7, 200, 0.001, -0.5, 999999999999999, 0.3],
  )
  const texts = '007,-0,1e5,+1,.5,1.,1234567890123456,0x1F, 1,1 ,-,1.2.3,--1,,Infinity'
  assert.deepEqual(values(texts), texts.split(','))
  assert.deepEqual(values('"12","a""b"'), [12, 'a"b'])
})

test('a decimal number has the value that JSON gives it', () => {
  void fc.assert(
    fc.property(fc.integer({ min: -(10 ** 9), max: 10 ** 9 }), fc.nat(6), (whole, places) => {
      const written = (whole / 10 ** places).toFixed(places)
      fc.pre(written.replace(/\D/g, '').length <= 15 && Number(written) !== 0)
      assert.deepEqual(read(csv, written), { field1: JSON.parse(written) })
    }),
  )
})

test('a field without a value is left out in access logs, and kept as it is in csv', () => {
  assert.deepEqual(read(spaced, 'a - "-" "" b'), { field1: 'a', field5: 'b' })
  assert.deepEqual(read(csv, 'a,-,,b'), { field1: 'a', field2: '-', field3: '', field4: 'b' })
})

test('only the fields that are wanted are made, also when the wanted set changes', () => {
  const reader = readerOf({ ...csv, fieldNames: ['a', 'b', 'c'] })
  const record = Buffer.from('1,2,3,4')
  assert.deepEqual(reader.read(record, new Set(['b', 'field4', 'nowhere'])), { b: 2, field4: 4 })
  assert.deepEqual(reader.read(record, new Set(['nowhere'])), {})
  assert.deepEqual(reader.read(record), { a: 1, b: 2, c: 3, field4: 4 })
  assert.deepEqual(readerOf({}).read(Buffer.from('{"a":1}'), new Set(['a'])), { a: 1 })
})

test('for any row, wanted fields are the same as among all fields', () => {
  const names = ['a', 'b', 'c', 'd']
  void fc.assert(
    fc.property(
      fc.constantFrom(csv, spaced, { decoder: 'w3c', fieldSeparator: '\t' } as const),
      fc.string({ unit: fc.constantFrom(...'12,-. \t"é[]\\x') }),
      fc.subarray(names),
      (format, row, wanted) => {
        const reader = readerOf({ ...format, fieldNames: names })
        const all = reader.read(Buffer.from(row))
        const expected = Object.fromEntries(Object.entries(all).filter(([name]) => wanted.includes(name)))
        assert.deepEqual(reader.read(Buffer.from(row), new Set(wanted)), expected)
      },
    ),
  )
})

test('a record of nothing but separators does not make fields without end', () => {
  assert.equal(Object.keys(read(csv, ','.repeat(100_000))).length, 1000)
})

test('a path is a key first, then an object within an object', () => {
  const fields = JSON.parse('{"a.b":1,"a":{"b":2,"c":{"d":3},"x.y":4},"l":[{"n":5}],"__proto__":{"p":6},"z":null}')
  const paths = ['a.b', 'a.c.d', 'a.c', 'a.x.y', 'l.0.n', '__proto__.p', 'z']
  assert.deepEqual(
    paths.map((path) => fieldAt(fields, path)),
    [1, 3, { d: 3 }, 4, 5, 6, null],
  )
  for (const path of ['b', 'a.b.c', 'z.a', 'toString', 'constructor.name', 'a.', '.a', '', 'l.length.x']) {
    assert.equal(fieldAt(fields, path), undefined, path)
  }
})

test('lines of AWS access logs have the names of the user guides', () => {
  const alb = exampleFields('alb_access')
  assert.deepEqual(
    [alb['client:port'], alb.elb_status_code, alb.request, alb.user_agent, alb.ssl_protocol],
    ['192.168.131.39:2817', 200, 'GET https://www.example.com:443/ HTTP/1.1', 'curl/7.46.0', 'TLSv1.2'],
  )
  const nlb = exampleFields('nlb_access')
  assert.deepEqual(
    [nlb['destination:port'], nlb.domain_name, nlb.alpn_be_protocol, nlb.alpn_client_preference_list],
    ['172.100.100.185:443', 'my.example.com', undefined, '"h2","http/1.1"'],
  )
  assert.equal(nlb.tls_connection_creation_time, '2024-01-15T09:59:40')
  const clb = exampleFields('elb_access')
  assert.deepEqual([clb['backend:port'], clb.sent_bytes, clb.request], ['5.6.7.8:80', 456, 'GET /path HTTP/1.1'])
  const s3 = exampleFields('s3_access')
  assert.deepEqual(
    [s3.time, s3.operation, s3.http_status, s3.error_code, s3.bytes_sent, s3.referer, s3.user_agent],
    ['15/Jan/2024:10:00:04 +0000', 'REST.GET.OBJECT', 200, undefined, 113, undefined, 'S3Console/0.4'],
  )
})

test('the newest line of the S3 guide is named to its end', () => {
  const line =
    '79a59 mybucket [06/Feb/2019:00:00:38 +0000] 192.0.2.3 79a59 3E57427F3EXAMPLE REST.GET.VERSIONING - "GET /mybucket?versioning HTTP/1.1" 200 - 113 - 7 - "-" "S3Console/0.4" - s9lzHYrFp76Z= SigV4 ECDHE-RSA-AES128-GCM-SHA256 AuthHeader mybucket.s3.us-west-1.amazonaws.com TLSV1.2 arn:aws:s3:us-west-1:123456789012:accesspoint/example-AP Yes us-east-1'
  const sample = Buffer.from(`${line}\n`)
  const { format } = createFormats([]).select('logs/2019-02-06-00-15-00-0123456789ABCDEF', sample)
  const fields = fieldReader({ format, sample }).read(Buffer.from(line))
  assert.deepEqual(
    [fields.host_id, fields.signature_version, fields.host_header, fields.acl_required, fields.source_region],
    ['s9lzHYrFp76Z=', 'SigV4', 'mybucket.s3.us-west-1.amazonaws.com', 'Yes', 'us-east-1'],
  )
})

test('flow logs have names with and without their header, default and custom', () => {
  const fields = exampleFields('vpc_flow')
  assert.deepEqual([fields.srcaddr, fields.dstport, fields.action], ['172.31.16.139', 22, 'ACCEPT'])
  assert.deepEqual(exampleFields('vpc_flow_header')['flow-direction'], 'ingress')
  const line = '2 123456789010 eni-1235b8ca - - - - - - - 1431280876 1431280934 - NODATA'
  const sample = Buffer.from(`${line}\n`)
  const { format } = createFormats([], { defaultFormat: 'vpc_flow' }).select('x', sample)
  const { srcaddr, 'log-status': status, end } = fieldReader({ format, sample }).read(Buffer.from(line))
  assert.deepEqual([srcaddr, status, end], [undefined, 'NODATA', 1431280934])
})

test('CloudFront, csv with a header and access logs of web servers have names', () => {
  const { 'cs(Host)': host, 'sc-status': status } = exampleFields('cloudfront')
  assert.deepEqual([host, status], ['d111111abcdef8.cloudfront.net', 200])
  assert.equal(exampleFields('generic_csv').level, 'WARN')
  assert.equal(exampleFields('nginx_access').status, 200)
  const apache = exampleFields('apache_combined')
  assert.deepEqual([apache.remote_user, apache.http_referer], ['frank', 'http://referer'])
})

test('vhost_combined is told from combined by its first line', () => {
  const line = 'www.example.com:443 1.2.3.4 - - [15/Jan/2024:10:00:00 +0000] "GET / HTTP/1.1" 404 12 "-" "x"'
  const sample = Buffer.from(`${line}\n`)
  const { format } = createFormats([]).select('apache/access.log', sample)
  const { virtual_host: host, remote_addr: address, status } = fieldReader({ format, sample }).read(Buffer.from(line))
  assert.deepEqual([host, address, status], ['www.example.com:443', '1.2.3.4', 404])
})

test('Umbrella logs are named by their header, without one only those of DNS queries', () => {
  assert.equal(exampleFields('cisco_umbrella').Domain, 'example.com.')
  const fieldsOf = (line: string) => {
    const sample = Buffer.from(`${line}\n`)
    const { format } = createFormats([]).select('2024-01-15/2024-01-15-10-00-ab12.csv.gz', sample)
    assert.equal(format.name, 'cisco_umbrella')
    return fieldReader({ format, sample }).read(Buffer.from(line))
  }
  const dns = fieldsOf(
    '"2024-01-15 10:01:05","laptop","laptop,Site 1","10.1.2.3","203.0.113.9","Blocked","1 (A)","NOERROR","example.com.","News","AD User","AD User,Site","Chat"',
  )
  assert.deepEqual([dns.Identities, dns.Domain, dns['Blocked Categories']], ['laptop,Site 1', 'example.com.', 'Chat'])
  const proxy = fieldsOf(
    '"2024-01-15 10:01:05","laptop","laptop","10.1.2.3","203.0.113.9","","ALLOWED","http://x/","",""',
  )
  assert.deepEqual([proxy.Domain, proxy.field7], [undefined, 'ALLOWED'])
})

test('names of a configured format are used; an object no format knows is not cut by the first one', () => {
  const entry: z.input<typeof formatSchema> = {
    name: 'mine',
    filename_pattern: 'mine-*',
    timestamp_regex: '^(\\d{10}) ',
    field_separator: ' ',
    field_names: ['time', 'level'],
  }
  const formats = createFormats([formatSchema.parse(entry)])
  const sample = Buffer.from('1705312800 WARN x\n')
  const mine = formats.select('mine-1', sample)
  assert.deepEqual(fieldReader({ format: mine.format, sample }).read(sample.subarray(0, -1)), {
    time: 1705312800,
    level: 'WARN',
    field3: 'x',
  })
  const unknown = formats.select('other', Buffer.from('just some words\n'))
  assert.deepEqual([unknown.by, fieldReader({ format: unknown.format, sample }).cut], ['fallback', undefined])
})
