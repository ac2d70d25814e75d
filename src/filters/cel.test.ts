import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { formatOf } from '../../test/conformance/decoder.ts'
import { StreamError } from '../core/errors.ts'
import type { Format } from '../formats/format.ts'
import { compileFilter, type FilteredObject, filterProblem } from './cel.ts'
import { fieldReader } from './fields.ts'

const timeMs = Date.parse('2025-06-01T12:00:00Z')

function filterOf(source: string, o: { readonly format?: Partial<Format>; readonly sample?: string } = {}) {
  const object: FilteredObject = {
    object: { bucket: 'logs', key: 'app/2025/06/01/a.json.gz' },
    format: 'app',
    reader: fieldReader({ format: formatOf(o.format ?? {}), sample: Buffer.from(o.sample ?? '') }),
    timeOf: () => timeMs,
  }
  return compileFilter(source).forObject(object)
}

const record = {
  status: 503,
  method: 'GET',
  ratio: 0.5,
  user: { name: 'ann', roles: ['admin', 'ops'] },
  ok: true,
  none: null,
  type: 'error',
  bytes: 2048,
  map: { list: [1, 2] },
  'sc-status': 404,
  'cs(User-Agent)': 'curl',
  '5xx': 1,
  key: 'own',
  package: 'left-pad',
}

function passes(source: string, of: object = record): boolean {
  return filterOf(source).test(Buffer.from(JSON.stringify(of)))
}

function failure(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    assert.ok(error instanceof StreamError, String(error))
    assert.equal(error.code, 'filter.failed')
    assert.equal(error.kind, 'permanent')
    return error.message
  }
  throw new assert.AssertionError({ message: 'nothing was thrown' })
}

/** Expressions that hold, and their negations that do not. */
function holds(...sources: string[]): void {
  for (const source of sources) {
    assert.equal(filterProblem(source), undefined, source)
    assert.equal(passes(source), true, source)
    assert.equal(passes(`!(${source})`), false, source)
  }
}

test('numbers of records compare and calculate with the numbers of the expression', () => {
  holds(
    'status >= 500 || method == "POST"',
    'status == 503 && 503 == status && status != 404 && status == 503.0',
    'status in [500, 503] && !(status in [500, 502])',
    'status > 502.5 && status < 504',
    'bytes / 1024 == 2 && bytes * 2 > 4000 && bytes - 48 == 2000 && 1 + bytes == 2049 && bytes % 1000 == 48',
    'int(status) / 100 == 5',
    '-status < 0 && ratio * ratio == 0.25 && bytes % ratio == 0.0',
  )
})

test('fields may be nested, lists, null and of another type', () => {
  holds(
    'user.name == "ann" && user["name"].startsWith("a")',
    '"ops" in user.roles && user.roles.exists(role, role == "admin") && user.roles[0] == "admin"',
    'none == null && status != null && ok',
    'status != "503" && !(method == 5)',
    'size(user.roles) == 2 && size(method) == 3 && method.size() == 3',
    'map.list.map(n, n * 2) == [2, 4]',
    'cel.bind(n, bytes, n > 2000 && n < 3000)',
  )
})

test('fields called like types of CEL are fields; types are there where type() is compared', () => {
  holds(
    'type == "error"',
    'bytes > 100 && map.list[1] == 2',
    'type(type) == string && type(status) == double && type(user) == map',
    'type(status) in [int, double] && type(timestamp) == google.protobuf.Timestamp',
    'user.roles.exists(type, type == "ops")',
    '[type, method] == ["error", "GET"]',
  )
})

test('names that are no identifiers: with underscores, or by fields', () => {
  holds(
    'sc_status == 404 && cs_User_Agent_ == "curl" && _xx == 1',
    'fields["sc-status"] == 404 && fields["cs(User-Agent)"] == "curl" && fields["5xx"] == 1',
    'fields["package"] == "left-pad"',
  )
})

test('what comes from outside the record', () => {
  holds(
    'bucket == "logs" && key.endsWith(".json.gz") && format == "app"',
    'fields.key == "own"',
    'timestamp > timestamp("2025-01-01T00:00:00Z") && timestamp < timestamp("2025-06-01T12:00:01Z")',
    'timestamp + duration("1h") == timestamp("2025-06-01T13:00:00Z") && timestamp.getFullYear() == 2025',
    'record.contains("\\"method\\":\\"GET\\"") && record.startsWith("{")',
  )
})

test('a field the record lacks errs, unless nothing depends on it', () => {
  holds('nope == 1 || true', '!(nope == 1 && false)', '!has(fields.nope) && has(fields.status) && !has(user.nope)')
  holds('!("nope" in fields) && "status" in fields', 'has(fields.nope) ? fields.nope == 1 : true')
  assert.equal(
    failure(() => passes('status > 1 &&\n  nope == 1')),
    'cannot filter: no such field: nope (line 2, column 3 of the filter)',
  )
  assert.equal(
    failure(() => passes('user.nope == 1')),
    'cannot filter: no such field: nope (line 1, column 6 of the filter)',
  )
  // The place is that of the source, although `type` is more for the library.
  assert.match(
    failure(() => passes('type != "x" && type == type && nope == 1')),
    /nope \(line 1, column 32/,
  )
  for (const name of ['toString', 'constructor', 'hasOwnProperty']) {
    assert.match(
      failure(() => passes(`${name} == 1`)),
      /no such field/,
    )
  }
})

test('a record that has keys of JavaScript objects is as any other', () => {
  const odd = { constructor: 'x', toString: 1, status: 200 }
  assert.equal(passes('constructor == "x" && toString == 1 && status == 200', odd), true)
  assert.equal(passes('fields.status == 200 && "constructor" in fields && size(fields) == 3', odd), true)
  const inner = { user: { id: 1, constructor: 'x', list: [{ constructor: 2, n: 3 }] } }
  assert.equal(passes('user.id == 1 && user.list[0].n == 3 && fields.user.constructor == "x"', inner), true)
  const text = '{"__proto__":{"status":500}}'
  assert.match(
    failure(() => filterOf('status == 500').test(Buffer.from(text))),
    /no such field: status/,
  )
})

test('errors tell nothing of the record', () => {
  const secret = { text: 'hunter2', hunter2: {}, at: 'hunter2', list: [] }
  for (const source of [
    'bool(text)',
    'int(text) == 1',
    'timestamp(at) > timestamp',
    'duration(text) > duration("1s")',
    'fields[text][at] == 1',
    'timestamp.getHours(text) == 1',
    'record.matches(text + "(")',
    'text',
    'text && true',
    'text < 5',
    'list[0]',
  ]) {
    const message = failure(() => passes(source, secret))
    assert.match(message, /^cannot filter: ./)
    assert.ok(!message.includes('hunter2'), message)
  }
  assert.match(
    failure(() => filterOf('a == 1').test(Buffer.from('{"a":hunter2'))),
    /^cannot read fields: [^2]*$/,
  )
})

test('a result that is no bool is an error', () => {
  for (const [source, found] of [
    ['method', 'a string'],
    ['none', 'null'],
    ['user.roles', 'a list'],
    ['status', 'a number'],
  ] as const) {
    assert.equal(filterProblem(source), undefined)
    assert.equal(
      failure(() => passes(source)),
      `cannot filter: the result is ${found}, not true or false`,
    )
  }
})

test('problems of a filter come with their place in it', () => {
  const cases: ReadonlyArray<[string, RegExp, number, number]> = [
    ['', /Unexpected token: EOF/, 1, 1],
    ['status = 5', /Unexpected character/, 1, 8],
    ['status == 5 &&\n  (method == "a"', /Expected RPAREN, got EOF/, 2, 17],
    ['"abc', /Unterminated string/, 1, 1],
    ['status > 1 &&\n  record == 5', /no such overload: string == int/, 2, 3],
    ['type == "a" && bytes > 1 && frob(status)', /found no matching overload for 'frob\(dyn\)'/, 1, 29],
    ['method.frob()', /'dyn\.frob\(\)'/, 1, 1],
    ['record.matches(5)', /'string\.matches\(int\)'/, 1, 1],
    ['1 + 1', /the result is int, not bool/, 1, 1],
    ['record', /the result is string, not bool/, 1, 1],
    ['ok && package == "x"', /package is a reserved word of CEL .*fields\["package"\]/, 1, 7],
    ['method.matches("(a+")', /no RE2 expression: missing closing \)/, 1, 16],
    ['ok &&\n method.matches("a(?=b)")', /no RE2 expression: .*no look-around/, 2, 17],
    ['matches(method, "[")', /no RE2 expression/, 1, 17],
  ]
  for (const [source, message, line, column] of cases) {
    const problem = filterProblem(source)
    assert.ok(problem, source)
    assert.match(problem.message, message, source)
    assert.doesNotMatch(problem.message, /\n|matchRe/)
    assert.deepEqual([problem.line, problem.column], [line, column], source)
    assert.throws(
      () => compileFilter(source),
      (error) =>
        error instanceof StreamError &&
        error.code === 'config.invalid' &&
        error.message.includes(`line ${line}, column ${column}: ${problem.message}`),
    )
  }
})

test('matches is RE2: found anywhere, and in linear time whatever the pattern', () => {
  holds(
    'method.matches("^G.T$") && record.matches("503") && !record.matches("^503$")',
    '(method)// .matches("x")\n  .matches( // matches\n "G" )',
    'matches(method, "(?i)get") && user.roles.all(role, role.matches("^[a-z]+$"))',
  )
  const text = `${'a'.repeat(100_000)}b`
  assert.equal(passes('text.matches("^(a+)+$")', { text }), false)
  assert.equal(passes('text.matches(pattern)', { text, pattern: '(x+x+)+y' }), false)
  assert.equal(passes('text.matches("(a|aa)+b$")', { text }), true)
})

test('delimited records are read by name', () => {
  const w3c = { format: { decoder: 'w3c' }, sample: '#Fields: date sc-status cs(User-Agent) time-taken\n' } as const
  const line = Buffer.from('2025-06-01 404 curl 17')
  for (const source of [
    'sc_status == 404',
    'fields["sc-status"] == 404 && cs_User_Agent_ == "curl"',
    'time_taken / 10 > 1.5 && date.startsWith("2025")',
    'size(fields) == 4',
  ]) {
    assert.equal(filterOf(source, w3c).test(line), true, source)
  }
  const csv = { format: { decoder: 'csv', fieldSeparator: ',' } } as const
  assert.equal(filterOf('field2 == "x,y" && field1 == 5', csv).test(Buffer.from('5,"x,y"')), true)
  assert.match(
    failure(() => filterOf('field3 == 1', csv).test(Buffer.from('5,6'))),
    /no such field: field3/,
  )
})

test('only what the expression reaches is read', () => {
  const noJson = Buffer.from('{"status":')
  assert.equal(filterOf('key.endsWith(".gz") || status == 5').test(noJson), true)
  assert.equal(filterOf('record.contains("status")').test(noJson), true)
  assert.equal(filterOf('status == 5 || bucket == "logs"').test(noJson), true)
  assert.match(
    failure(() => filterOf('status == 5').test(noJson)),
    /cannot read fields/,
  )
})

test('a filter knows the fields it reads', () => {
  const names = (source: string) => {
    const { fieldNames } = compileFilter(source)
    return fieldNames && [...fieldNames].sort()
  }
  assert.deepEqual(names('key == "a" && record == "b" && timestamp > timestamp("2025-01-01T00:00:00Z")'), [])
  assert.deepEqual(names('a == 1 && b.c == 2 && fields.d == 3 && fields["e-f"] == 4'), ['a', 'b', 'd', 'e-f'])
  assert.deepEqual(names('has(fields.a) && "b" in fields && type == "x"'), ['a', 'b', 'type'])
  assert.deepEqual(names('list.exists(x, x == y) && cel.bind(z, a, z == 1)'), ['a', 'list', 'y'])
  assert.equal(names('fields.exists(k, k == "a")'), undefined)
  assert.equal(names('fields[key] == 1'), undefined)
})

test('one compiled filter serves several objects at once', () => {
  const compiled = compileFilter('key == "a" && n == 1')
  const reader = fieldReader({ format: formatOf({}), sample: Buffer.alloc(0) })
  const [a, b] = ['a', 'b'].map((key) =>
    compiled.forObject({ object: { bucket: 'x', key }, format: 'f', reader, timeOf: () => 0 }),
  )
  assert.ok(a && b)
  const one = Buffer.from('{"n":1}')
  assert.deepEqual([a.test(one), b.test(one), a.test(Buffer.from('{"n":2}')), a.test(one)], [true, false, false, true])
})

test('a deep or odd record is no more than an error of that record', () => {
  const deep = Buffer.from(`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`)
  assert.match(
    failure(() => filterOf('a == [1]').test(deep)),
    /cannot (filter|read)/,
  )
  void fc.assert(
    fc.property(fc.dictionary(fc.constantFrom('a', 'b', 'constructor', '__proto__', 'type'), fc.jsonValue()), (of) => {
      const json = Buffer.from(JSON.stringify(of))
      for (const source of ['a == b', 'a < b', 'a.b == 1', 'a[0] == b', 'type == a || fields.b == 1', 'b in a']) {
        try {
          assert.equal(typeof filterOf(source).test(json), 'boolean')
        } catch (error) {
          assert.ok(error instanceof StreamError && error.code === 'filter.failed', `${source}: ${String(error)}`)
        }
      }
    }),
    { numRuns: 200 },
  )
})

test('the depth of stack traces is as before, also after an error', () => {
  const before = Error.stackTraceLimit
  failure(() => passes('nope == 1'))
  passes('ok')
  assert.equal(Error.stackTraceLimit, before)
})
