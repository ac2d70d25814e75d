import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { compileGlob } from '../formats/glob.ts'
import { directoryConfig } from './directory.ts'
import { splitGlob } from './file-rules.ts'
import {
  mayBeEmpty,
  moveTarget,
  renderTemplate,
  TemplateError,
  targetGlob,
  targetPath,
  templateVerbs,
} from './file-template.ts'

const timeMs = Date.UTC(2026, 8, 3, 4, 5, 6)

test('templates say what a file is called', () => {
  const facts = { path: 'x/y/report.tar.gz', timeMs }
  const cases = {
    '{path}': 'x/y/report.tar.gz',
    '{dir}|{name}|{stem}|{ext}': 'x/y|report.tar.gz|report.tar|.gz',
    '{date} {yyyy}-{MM}-{dd} {HH}:{mm}:{ss}': '2026-09-03 2026-09-03 04:05:06',
  }
  for (const [template, text] of Object.entries(cases)) assert.equal(renderTemplate(template, facts), text)
  assert.equal(renderTemplate('{dir}|{stem}|{ext}', { path: '.hidden', timeMs }), '|.hidden|')
  for (const odd of [Number.NaN, Number.POSITIVE_INFINITY, 9e15, 8e15]) {
    assert.equal(renderTemplate('{date}', { path: 'a', timeMs: odd }), '1970-01-01')
  }
})

test('an unknown verb is an error that says what was meant', () => {
  assert.throws(
    () => templateVerbs('x/{nmae}'),
    (error) => error instanceof TemplateError && /did you mean \{name\}/.test(error.message),
  )
  for (const template of ['{', 'a}', '{path', '{}', '{ name }'])
    assert.throws(() => templateVerbs(template), TemplateError, template)
})

test('the glob of a template fits everything that it makes', () => {
  const piece = fc.constantFrom(
    '{path}',
    '{dir}',
    '{name}',
    '{stem}',
    '{ext}',
    '{date}',
    '/',
    'a',
    '.done',
    '*',
    '[x]',
    '\\',
    '!',
  )
  const name = fc.stringMatching(/^[a-c.*[\]!\n ü-]{1,6}$/).filter((text) => !['.', '..'].includes(text))
  const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/'))
  fc.assert(
    fc.property(fc.array(piece, { minLength: 1, maxLength: 6 }), path, (pieces, given) => {
      fc.pre(!mayBeEmpty(pieces.join('').split('/').at(-1) ?? '') || !/path|name|stem/.test(pieces.join('')))
      const target = moveTarget('/data/{in}', pieces.join(''))
      const made = targetPath(target, { path: given, timeMs })
      assert.ok(compileGlob(targetGlob(target))(made.slice(1)), `${targetGlob(target)} does not fit ${made}`)
    }),
    { numRuns: 1000 },
  )
})

test('a path is split before its first glob', () => {
  const cases: Readonly<Record<string, ReturnType<typeof splitGlob>>> = {
    '/in': undefined,
    '/in/': undefined,
    'in/a.csv': undefined,
    '/in/*.csv': { folder: '/in', pattern: '*.csv' },
    '/*': { folder: '/', pattern: '*' },
    '*.csv': { folder: '.', pattern: '*.csv' },
    'a/b?/c': { folder: 'a', pattern: 'b?/c' },
    '/in/*/': { folder: '/in', pattern: '*/**' },
    '/in\\[1\\]/*.csv': { folder: '/in[1]', pattern: '*.csv' },
  }
  for (const [path, expected] of Object.entries(cases)) assert.deepEqual(splitGlob(path), expected, path)
})

test('the configuration says what is wrong with it', () => {
  const problems = (config: object) => {
    const { error } = directoryConfig.safeParse({ type: 'directory', path: '/in', ...config })
    return (error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ')
  }
  assert.equal(problems({}), '')
  assert.match(problems({ after: 'move' }), /^move_to: is missing/)
  assert.match(problems({ move_to: 'old' }), /^after: must be move/)
  assert.match(problems({ after: 'move', move_to: 'old/{nam}' }), /^move_to: unknown \{nam\}, did you mean \{name\}/)
  assert.match(problems({ after: 'move', move_to: '{name}/{ext}' }), /^move_to: must end with a name/)
  assert.match(problems({ after: 'move', move_to: '../old' }), /^move_to: must not contain \.\./)
  assert.match(problems({ finished: { marker: 'x/{name}' } }), /^finished\.marker: must be a name/)
  assert.match(problems({ finished: { marker: '{stem}{ext}' } }), /^finished\.marker: must differ/)
  assert.match(problems({ finished: { marker: '{path}.ok' } }), /^finished\.marker: unknown \{path\}/)
  assert.match(problems({ include: '[a' }), /^include: /)
  assert.match(problems({ path: 'a\0b' }), /^path: must not contain NUL/)
})
