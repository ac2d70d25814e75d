import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { compileGlob, GlobError } from './glob.ts'

const fits = (glob: string, key: string) => compileGlob(glob)(key)

test('a glob without a slash is matched against the base name, in any folder', () => {
  assert.ok(fits('*.log.gz', 'a.log.gz'))
  assert.ok(fits('*.log.gz', 'x/year=2024/a.log.gz'))
  assert.ok(!fits('*.log.gz', 'x/a.log.gz/b'))
  assert.ok(!fits('*.log.gz', 'x/alog.gz'))
  assert.ok(fits('*', 'x/no extension'))
})

test('a glob with folders fits the last segments of a key at any depth', () => {
  const glob = 'slowquery/mysql-slowquery.log.*.gz'
  assert.ok(fits(glob, 'slowquery/mysql-slowquery.log.1.gz'))
  assert.ok(fits(glob, 'prod/db1/slowquery/mysql-slowquery.log.1.gz'))
  assert.ok(!fits(glob, 'prod/slowquery/db1/mysql-slowquery.log.1.gz'))
  assert.ok(!fits(glob, 'prod/notslowquery/mysql-slowquery.log.1.gz'))
})

test('a leading slash ties the glob to the whole key', () => {
  assert.ok(fits('/logs/*.gz', 'logs/a.gz'))
  assert.ok(!fits('/logs/*.gz', 'x/logs/a.gz'))
  assert.ok(fits('/**/*.gz', 'x/logs/a.gz'))
})

test('one star stays within a segment, two do not', () => {
  assert.ok(!fits('a/*.gz', 'a/b/c.gz'))
  assert.ok(fits('a/**/*.gz', 'a/b/c.gz'))
  assert.ok(fits('a/**/*.gz', 'a/c.gz'))
  assert.ok(fits('a/**', 'a/b/c'))
  assert.ok(fits('**.gz', 'a/b/c.gz'))
})

test('the patterns of Go filepath.Match mean the same: classes, negation, ranges, escapes, one character', () => {
  assert.ok(fits('[0-9]*_?.gz', '17_a.gz'))
  assert.ok(!fits('[0-9]*_?.gz', 'a7_a.gz'))
  assert.ok(fits('[^a-c]x', 'dx'))
  assert.ok(!fits('[^a-c]x', 'bx'))
  assert.ok(!fits('[!a]x', 'ax'))
  assert.ok(fits('a\\*b', 'a*b'))
  assert.ok(!fits('a\\*b', 'axb'))
  assert.ok(fits('[\\-x]', '-'))
  assert.ok(fits('[]a]', ']'))
  assert.ok(!fits('a[!b]c', 'a/c'))
  assert.ok(!fits('?', ''))
})

test('braces give alternatives', () => {
  assert.ok(fits('{access,error}.log{,.gz}', 'access.log'))
  assert.ok(fits('{access,error}.log{,.gz}', 'x/error.log.gz'))
  assert.ok(!fits('{access,error}.log{,.gz}', 'debug.log'))
  assert.ok(fits('{nginx/*.log,*nginx*}', 'x/nginx/a.log'))
})

test('characters that mean something in a regex are literal', () => {
  assert.ok(fits('a+(b)|$^.log', 'a+(b)|$^.log'))
  assert.ok(!fits('a.log', 'aXlog'))
  assert.ok(fits('feedname=Threat Team - Web/*', 'feedname=Threat Team - Web/ü.gz'))
})

test('what is no glob is refused with the reason', () => {
  assert.throws(() => compileGlob('*.[log'), new GlobError('"[" at character 3 is not closed by "]"'))
  assert.throws(() => compileGlob('{a,b'), /"\{" is not closed/)
  assert.throws(() => compileGlob('a\\'), /escapes nothing/)
  assert.throws(() => compileGlob(''), /empty/)
  assert.throws(() => compileGlob('/'), /empty/)
  assert.throws(() => compileGlob('[z-a]'), GlobError)
})

test('a key written to be slow is not', () => {
  const glob = compileGlob('*_*_*_*_*_*.gz')
  assert.equal(glob(`${'_'.repeat(1000)}.gz`), true)
  assert.equal(glob(`${'_'.repeat(4)}${'x'.repeat(1000)}.gz`), false)
  assert.equal(compileGlob('*_*_*_*_*_*x?z')(`${'_'.repeat(1000)}.gz`), false)
})

test('any text is a glob or a GlobError, and no key makes matching throw', () => {
  const piece = fc.constantFrom(
    '*',
    '**',
    '/',
    '?',
    '[',
    ']',
    '!',
    '^',
    '-',
    '{',
    '}',
    ',',
    '\\',
    'a',
    'Z',
    '.gz',
    'é',
    '\ud83d\ude00',
    '\ud83d',
  )
  const texts = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(piece, { maxLength: 10 }).map((pieces) => pieces.join('')),
  )
  void fc.assert(
    fc.property(texts, texts, (text, key) => {
      let glob: (key: string) => boolean
      try {
        glob = compileGlob(text)
      } catch (error) {
        assert.ok(error instanceof GlobError, String(error))
        return
      }
      assert.equal(typeof glob(key), 'boolean')
    }),
    { numRuns: 2000 },
  )
})

test('a key without special characters, taken as a glob, fits itself', () => {
  void fc.assert(
    fc.property(
      fc.stringMatching(/^[a-z0-9=. _+()|$-]{1,20}(\/[a-z0-9=. _+()|$-]{1,20}){0,3}$/),
      (key) => fits(key, key) && fits(`/${key}`, key),
    ),
  )
})

test('the quick checks for literal text never refuse a key that fits', () => {
  for (const [glob, key] of [
    ['{abc,x}*_long literal_*.gz', 'x1_long literal_2.gz'],
    ['*[abc]def*', 'xadefx'],
    ['a/**/bcd/*.gz', 'a/bcd/x.gz'],
    ['**/bcd/*.gz', 'bcd/x.gz'],
    ['*\\*x', 'a*x'],
    ['a{,b}', 'a'],
    ['a,b', 'a,b'],
    ['a]b}c', 'a]b}c'],
  ] as const) {
    assert.ok(fits(glob, key), glob)
  }
})
