import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RE2JS } from 're2js'
import { type Block, blockOf, recordAt } from '../core/block.ts'
import { StreamError } from '../core/errors.ts'
import { compilePattern, compileReplacement, replacementProblem } from './pattern.ts'
import { Automaton } from './pattern-automaton.ts'
import { BlockScan } from './pattern-scan.ts'

function marked(source: string, block: Block): number[] {
  const hits = new Uint8Array(block.ends.length)
  compilePattern(source).mark(block, hits)
  return [...hits]
}

/** What re2js says of each record alone: the specification. */
function expected(source: string, block: Block): number[] {
  const regex = RE2JS.compile(source)
  return Array.from(block.ends, (_, i) => (regex.matcher(recordAt(block, i)).find() ? 1 : 0))
}

function agrees(source: string, records: readonly (string | Buffer)[], multiline = true): void {
  const block = blockOf(records, 0, multiline)
  assert.deepEqual(marked(source, block), expected(source, block), source)
}

const lines = [
  '2025-10-12 GET /api/users status=503 12ms',
  'POST /api status=200',
  'error: disk full',
  'ERROR in module',
  '{"action":"deny","user":"José"}',
  '{"action":"allow","user":"Zoë 日本語 😀"}',
  'a',
  ' 500 ',
  'first line\nsecond line ERROR\n',
  'ſtraße K',
  Buffer.from([0xff, 0x41, 0xc3]),
  Buffer.from([0xe4, 0xb8, 0x41, 0xf0, 0x9f, 0x98, 0x20]),
  'x'.repeat(3000),
  // Of three and four bytes, and no UTF-8: surrogates, too long forms, beyond U+10FFFF. And the last valid ones beside them.
  ...['eda080', 'e08080', 'e09fbf', 'ed9fbf', 'e0a080', 'f4908080', 'f0808080', 'f08fbfbf', 'f48fbfbf', 'f0908080'].map(
    (hex) => Buffer.from(hex, 'hex'),
  ),
  ...['c080', 'c1bf', 'c280', 'f5808080', 'e4b8', 'f09f98', 'e4b8e4b8ad', 'bf'].map((hex) => Buffer.from(hex, 'hex')),
]

test('finds what re2js finds in each record', async (t) => {
  const sources = [
    ...[
      'ERROR',
      'status=5\\d\\d',
      '\\b(GET|POST) /api/',
      '"action":"(deny|drop)"',
      ' 5\\d\\d ',
      '(?i)error',
      '(?i)k',
      '(?i)s',
    ],
    ...[
      '^a',
      'a$',
      '^a$',
      '\\Aa\\z',
      '^',
      '$',
      '',
      'a*',
      '\\b',
      '\\B',
      '^\\b',
      '(?m)^second',
      '(?m)line$',
      '(?m)$',
      'line\\z',
    ],
    ...[
      '.',
      '^.$',
      '^.{2}$',
      '^.{3}$',
      '^.{4}$',
      '^.{7}$',
      '(?s)^.{3}$',
      'line.second',
      '(?s)line.second',
      'line\\nsecond',
      '[^a]',
      '[^\\n]x',
      '\\s\\s',
    ],
    ...[
      'é',
      'Jos[é-ü]"',
      '日.語',
      '[日本]{2}',
      '\\p{Han}',
      '\\p{Greek}|\\p{Lu}{5}',
      '\\PL',
      '\\x{FFFD}',
      '\\x{FFFD}{2}',
      '😀',
      '[😀-😂]',
    ],
    ...[
      '(?i)ZOË',
      '(?i)STRASSE',
      '(?i)straẞe',
      '\\w+ \\w+',
      '[[:alpha:]]{6}',
      'x{1000}',
      '(x+x+)+y',
      '(x|x)*$',
      '[^\\x00-\\x{10FFFF}]',
    ],
    ...[
      'a|^b|c$',
      '(^a|b)',
      '(?:^|\\s)ERROR(?:\\s|$)',
      '\\Qa.b\\E',
      'ab??',
      '\\d{4}-\\d{2}',
      '(?m)^$',
      '\\bERROR\\b',
      '\\B500',
    ],
  ]
  for (const source of sources) await t.test(JSON.stringify(source), () => agrees(source, lines))
})

const piece = fc.constantFrom(
  ...[
    'a',
    'b',
    '_',
    ' ',
    '5',
    'é',
    '日',
    '😀',
    'k',
    'ſ',
    '.',
    '\\d',
    '\\w',
    '\\W',
    '\\s',
    '[a-c]',
    '[^a]',
    '[^é\\n]',
    '\\pL',
  ],
  ...[
    '\\n',
    '\\b',
    '\\B',
    '^',
    '$',
    '\\A',
    '\\z',
    '(?m:^)',
    '(?m:$)',
    '(?s:.)',
    '(?i:k)',
    '(?i:é)',
    '[é-日]',
    '\\x{FFFD}',
    'ab',
  ],
)
const source = fc.letrec<{ node: string }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    piece,
    fc.tuple(tie('node'), tie('node')).map(([a, b]) => a + b),
    fc.tuple(tie('node'), tie('node')).map(([a, b]) => `(?:${a}|${b})`),
    fc.tuple(tie('node'), fc.constantFrom('*', '+', '?', '*?', '+?', '{2}', '{1,3}')).map(([a, q]) => `(${a})${q}`),
  ),
})).node
const text = fc
  .array(fc.constantFrom('a', 'b', '_', ' ', '5', 'c', 'é', 'É', '日', '😀', 'k', 'K', '\u212a', 'ſ', '\n', '\ufffd'), {
    maxLength: 12,
  })
  .map((letters) => Buffer.from(letters.join('')))
const bytes = fc
  .array(
    fc.constantFrom(0x61, 0x62, 0x20, 0x0a, 0x80, 0xc3, 0xa9, 0xe6, 0x97, 0xa5, 0xf0, 0x9f, 0x98, 0xed, 0xa0, 0xff),
    { maxLength: 10 },
  )
  .map((all) => Buffer.from(all))
const record = fc.oneof(text, bytes)

test('finds what re2js finds, for any pattern and any bytes', () => {
  fc.assert(
    fc.property(source, fc.array(record, { minLength: 1, maxLength: 12 }), (one, records) => {
      fc.pre(records.some(({ length }) => length > 0))
      agrees(one, records)
    }),
    { numRuns: 1500 },
  )
})

test('takes an LF for the end of a record where the records have none', () => {
  const withoutLf = record.map((one) => one.filter((byte) => byte !== 10)).map((one) => Buffer.from(one))
  fc.assert(
    fc.property(source, fc.array(withoutLf, { minLength: 4, maxLength: 40 }), (one, records) => {
      fc.pre(records.some(({ length }) => length > 0))
      agrees(one, records, false)
    }),
    { numRuns: 500 },
  )
})

test('finds the same however often its table is emptied', () => {
  fc.assert(
    fc.property(source, fc.array(record, { minLength: 1, maxLength: 12 }), fc.nat(12), (one, records, states) => {
      fc.pre(records.some(({ length }) => length > 0))
      const block = blockOf(records, 0, true)
      const hits = new Uint8Array(block.ends.length)
      new BlockScan(new Automaton(one, states * 1300)).mark(block, hits)
      assert.deepEqual([...hits], expected(one, block))
    }),
    { numRuns: 1500 },
  )
})

test('leaves marks that are there, and passes over those records', () => {
  for (const one of ['ERROR', '(?i)error']) {
    const block = blockOf(['ERROR 1', 'none', 'ERROR 2', 'none', 'ERROR 3'])
    const hits = new Uint8Array([1, 1, 0, 0, 0])
    compilePattern(one).mark(block, hits)
    assert.deepEqual([...hits], [1, 1, 1, 0, 1])
  }
})

test('does not find across the end of a record', () => {
  assert.deepEqual(marked('ab', blockOf(['a', 'b', 'ab'])), [0, 0, 1])
  assert.deepEqual(marked('a\\nb', blockOf(['a', 'b', 'a\nb'], 0, true)), [0, 0, 1])
  assert.deepEqual(marked('a[^x]b', blockOf(['a', 'b', 'a.b'])), [0, 0, 1])
  assert.deepEqual(marked('a\\s*b', blockOf(['a', 'b', 'a b'])), [0, 0, 1])
})

test('one pattern serves many blocks, of any size', () => {
  const pattern = compilePattern('user=(alice|bob) .* denied$')
  for (let size = 1; size <= 40; size += 1) {
    const records = Array.from(
      { length: size },
      (_, i) => `${'-'.repeat((i * 37) % 200)}user=bob ${i} ${i % 3 === 0 ? 'denied' : 'ok'}`,
    )
    const hits = new Uint8Array(size)
    pattern.mark(blockOf(records), hits)
    assert.deepEqual(
      [...hits],
      records.map((_, i) => (i % 3 === 0 ? 1 : 0)),
    )
  }
})

test('stays right when the states do not fit into its table', () => {
  // One state for each of the last 14 letters: 16,384, far more than the table takes.
  const one = '(?:a.{13}b|日.{13}本)$'
  const random = fc.sample(fc.array(fc.constantFrom('a', 'b', '日', '本'), { minLength: 300, maxLength: 300 }), {
    numRuns: 60,
    seed: 7,
  })
  agrees(
    one,
    random.map((letters) => letters.join('')),
  )
  const [first = []] = random
  const long = Buffer.from(first.join(''))
  const regex = new RegExp(one.replace('$', ''), 'gu')
  assert.equal(
    compileReplacement(one.replace('$', ''), '<>').apply(long).toString(),
    long.toString().replace(regex, '<>'),
  )
})

test('takes linear time with patterns that make others backtrack', () => {
  const evil = `${'a'.repeat(1_000_000)}!`
  for (const one of ['(a+)+$', '(a|a)*$', '(a|aa)+$', '(a*)*b', '(.*)*x', 'a.*b.*c', '(a?){30}a{30}b']) {
    assert.deepEqual(marked(one, blockOf([evil, 'short', evil])), expected(one, blockOf(['a!', 'short', 'a!'])), one)
  }
  assert.deepEqual(marked('(x+x+)+y', blockOf(['x'.repeat(1_000_000), 'xxy'])), [0, 1])
  const record = Buffer.from(evil)
  assert.equal(compileReplacement('(a+)+$', '-').apply(record), record)
})

test('refuses what is no RE2 expression', () => {
  for (const one of ['(', '(?=a)', '(a)\\1', '[', 'a**', '\\p{Nothing}']) {
    assert.throws(
      () => compilePattern(one),
      (error) =>
        error instanceof StreamError && error.code === 'config.invalid' && error.message.includes(JSON.stringify(one)),
      one,
    )
    assert.throws(() => compileReplacement(one, ''), StreamError)
  }
})

const replaced = (one: string, template: string, record: string | Buffer) =>
  compileReplacement(one, template).apply(Buffer.from(record)).toString()

test('replaces every place', () => {
  const cases: [string, string, string, string][] = [
    ['password=\\S+', 'password=***', 'a password=x b password=yy', 'a password=*** b password=***'],
    ['secret', '', 'a secret of secrets', 'a  of s'],
    ['(\\d+)\\.(\\d+)\\.\\d+\\.\\d+', '$1.$2.0.0', 'from 10.1.2.3 to 172.16.9.9', 'from 10.1.0.0 to 172.16.0.0'],
    ['(?P<user>\\w+)@(?<host>\\w+)', '${host}/${user}', 'bob@mail alice@web', 'mail/bob web/alice'],
    ['a(b)?', '<$0|$1>', 'ab a', '<ab|b> <a|>'],
    ['\\d+', '$$$0', 'costs 12', 'costs $12'],
    ['(\\d)', '${1}0', 'a1', 'a10'],
    ['^', '> ', 'line', '> line'],
    ['$', '!', 'line', 'line!'],
    ['\\b', '|', 'two words', '|two| |words|'],
    ['x*', '-', 'abxc', '-a-b-c-'],
    ['', '-', 'é日', '-é-日-'],
    ['é', 'e', 'José é', 'Jose e'],
    ['(?i)TOKEN=\\w*', 'token=', 'Token=abc tOKEN=', 'token= token='],
    ['a*?', '-', 'ba', '-b-a-'],
    ['ab|b', 'X', 'abb', 'XX'],
    ['a+b', 'X', 'aaab aab', 'X X'],
    ['(?m)^#', '', '#a\n#b', 'a\nb'],
  ]
  for (const [one, template, record, result] of cases) assert.equal(replaced(one, template, record), result, one)
})

test('gives the same object if nothing is found', () => {
  for (const one of ['secret', '(?i)secret', '\\d+', '^b', 'secre[^ ]', '\\bcre']) {
    const record = Buffer.from('a secre secre')
    assert.equal(compileReplacement(one, 'x').apply(record), record)
  }
})

test('keeps the bytes around a place, valid UTF-8 or not', () => {
  const record = Buffer.from([0xff, 0xc3, 0x61, 0xe4, 0xb8, 0x61, 0x80])
  assert.deepEqual(
    compileReplacement('a', 'é').apply(record),
    Buffer.from([0xff, 0xc3, 0xc3, 0xa9, 0xe4, 0xb8, 0xc3, 0xa9, 0x80]),
  )
  assert.deepEqual(
    compileReplacement('', '-').apply(Buffer.from([0xe4, 0xb8])),
    Buffer.from([0x2d, 0xe4, 0x2d, 0xb8, 0x2d]),
  )
})

/** Go's ReplaceAll on top of re2js alone. */
function replacedByRe2js(one: string, record: Buffer): Buffer {
  const matcher = RE2JS.compile(one).matcher(record)
  const out: Buffer[] = []
  let copied = 0
  for (let found = matcher.find(); found; found = matcher.find()) {
    if (matcher.end() > copied || matcher.start() === 0) {
      out.push(
        record.subarray(copied, matcher.start()),
        Buffer.from('<'),
        record.subarray(matcher.start(), matcher.end()),
      )
      out.push(Buffer.from('>'))
    }
    copied = matcher.end()
  }
  return Buffer.concat([...out, record.subarray(copied)])
}

test('replaces what re2js finds, for any pattern and any bytes', () => {
  fc.assert(
    fc.property(source, record, (one, bytes) => {
      assert.deepEqual(compileReplacement(one, '<$0>').apply(bytes), replacedByRe2js(one, bytes))
    }),
    { numRuns: 1500 },
  )
})

test('says what is wrong with a template', () => {
  assert.equal(replacementProblem('(a)(?P<n>b)', '$1 $2 ${n} ${2} $0 $$5'), undefined)
  assert.equal(replacementProblem('a', 'plain'), undefined)
  const cases: [string, string, RegExp][] = [
    ['a', '$1', /names the group "1", and the pattern has no groups/],
    ['(a)', '$2', /"2", and the pattern has only group 1/],
    ['(a)(b)', '$10', /"10", and the pattern has only groups 1 to 2 \(a digit behind a group: \$\{1\}0\)/],
    ['(?P<user>a)', '${name}', /"name", and the pattern has only group 1, named user/],
    ['(?P<user>a)', '${toString}', /"toString"/],
    ['a', 'costs $', /has a "\$" that begins no group/],
    ['(?P<user>a)', '$user', /begins no group/],
  ]
  for (const [one, template, problem] of cases) {
    assert.match(replacementProblem(one, template) ?? '', problem)
    assert.throws(
      () => compileReplacement(one, template),
      (error) => error instanceof StreamError && error.code === 'config.invalid' && problem.test(error.message),
    )
  }
})
