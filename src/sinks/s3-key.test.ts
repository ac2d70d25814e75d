import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ListedObject } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { fixedPrefix, keyProblem, ObjectKeys, objectText, RecordKeys, recordText, textProblem } from './s3-key.ts'

const timeMs = Date.UTC(2026, 2, 4, 5, 6, 7)

function objectOf(path: string, o: Partial<ListedObject> = {}): ListedObject {
  const key = `home/acme/${path}`
  return { id: `b/${key}@1`, bucket: 'b', key, path, timeMs, lastModifiedMs: timeMs, size: 1, ...o }
}

const keyOf = (template: string, path: string, o?: Partial<ListedObject>) =>
  new ObjectKeys(template, 'nightly').keyOf(objectOf(path, o))

const refused = (template: string, path: string, pattern: RegExp) =>
  assert.throws(
    () => keyOf(template, path),
    (error) => error instanceof StreamError && error.kind === 'permanent' && pattern.test(error.message),
  )

test('each verb stands for its part of the object', () => {
  const cases: Array<[template: string, key: string]> = [
    ['{path}', '2026/in/a.tar.gz'],
    ['{dir}', '2026/in'],
    ['{name}', 'a.tar.gz'],
    ['{stem}|{ext}', 'a.tar|.gz'],
    ['{key}', 'home/acme/2026/in/a.tar.gz'],
    ['{bucket}', 'b'],
    ['{pipeline}', 'nightly'],
    ['{date}', '2026-03-04'],
    ['{yyyy}{MM}{dd}T{HH}{mm}{ss}', '20260304T050607'],
    ['vendor/{date}/{path}', 'vendor/2026-03-04/2026/in/a.tar.gz'],
    ['x-{name}', 'x-a.tar.gz'],
  ]
  for (const [template, key] of cases) {
    assert.equal(keyProblem(template, 'objects'), undefined, template)
    assert.equal(keyOf(template, '2026/in/a.tar.gz'), key, template)
  }
})

test('without a path below a folder, the key is the path', () => {
  const { path: _, ...object } = objectOf('x')
  assert.equal(new ObjectKeys('{path}', 'p').keyOf(object), 'home/acme/x')
})

test('a segment of empty verbs is left out with its slash, any other stays', () => {
  const cases: Array<[template: string, path: string, key: string]> = [
    ['{dir}/{name}', 'a.csv', 'a.csv'],
    ['in/{dir}/{name}', 'a.csv', 'in/a.csv'],
    ['{name}/{dir}', 'a.csv', 'a.csv'],
    ['{stem}/x{ext}/y', 'Makefile', 'Makefile/x/y'],
    ['{ext}{dir}/{name}', 'Makefile', 'Makefile'],
    ['a//{path}', 'b', 'a//b'],
    ['{path}', 'a//b', 'a//b'],
    ['{path}', '/a', '/a'],
    ['{stem}{ext}', '.bashrc', '.bashrc'],
    ['{stem}_{ext}', '.bashrc', '.bashrc_'],
    ['{stem}_{ext}', 'a.', 'a_.'],
  ]
  for (const [template, path, key] of cases) assert.equal(keyOf(template, path), key, `${template} of ${path}`)
})

test('a folder marker keeps its slash', () => {
  assert.equal(keyOf('x/{path}', 'a/b/'), 'x/a/b/')
  assert.equal(keyOf('{dir}/{name}', 'a/b/'), 'a/b/')
})

test('names stay as they are: spaces, line feeds, unicode, braces, percent signs', () => {
  for (const path of [
    'a b.csv',
    'a\nb',
    'Übung/ß.csv',
    '日本/🎉.txt',
    '{name}',
    '{',
    '100%25',
    '...',
    'a..b/..c',
    ' ',
    '\\',
  ])
    assert.equal(keyOf('{path}', path), path)
})

test('whatever the path, its parts put together again are the path', () => {
  const segment = fc.string({ unit: 'binary', minLength: 1 }).filter((text) => text !== '.' && text !== '..')
  fc.assert(
    fc.property(
      fc.array(
        segment.filter((text) => !text.includes('/')),
        { minLength: 1, maxLength: 4 },
      ),
      (segments) => {
        const path = segments.join('/')
        for (const template of ['{path}', '{dir}/{name}', '{dir}/{stem}{ext}'])
          assert.equal(keyOf(template, path), path)
      },
    ),
  )
})

test('a key that no object can have is refused with the reason', () => {
  refused('{path}', '', /cannot make a key of \{path\} for b\/home\/acme\/: the key would be empty \(change `key`/)
  refused('{path}', 'x'.repeat(1025), /would have 1025 bytes, and S3 takes 1024/)
  refused('{path}', 'ü'.repeat(513), /would have 1026 bytes/)
  assert.equal(keyOf('{path}', 'ü'.repeat(512)).length, 512)
  refused('{path}', '../../etc/passwd', /would have the segment "\.\."/)
  refused('{path}', 'a/./b', /would have the segment "\."/)
  refused('x{name}', '\ud800', /half a character/)
  refused('.{ext}', 'Makefile', /would have the segment "\."/)
})

test('the place of a source of files is its bucket without the scheme', () => {
  assert.equal(
    keyOf('{bucket}/{name}', 'a', { bucket: 'sftp://acme@sftp.example.com:2222' }),
    'acme@sftp.example.com:2222/a',
  )
  assert.equal(keyOf('{bucket}/{name}', 'a', { bucket: 'file://' }), 'a')
})

test('an object without a usable time has that of 1970', () => {
  assert.equal(keyOf('{date}', 'a', { timeMs: Number.NaN }), '1970-01-01')
  assert.equal(keyOf('{date}', 'a', { timeMs: -5 }), '1970-01-01')
  assert.equal(keyOf('{date}', 'a', { timeMs: Number.MAX_VALUE }), '9999-12-31')
})

test('a template that gives no keys is a mistake that is explained', () => {
  const cases: Array<[template: string, mode: 'objects' | 'records', problem: RegExp]> = [
    ['', 'objects', /must not be empty/],
    ['{pth}', 'objects', /unknown \{pth\} \(did you mean "path"\?\)/],
    ['{banana}', 'objects', /unknown \{banana\}, known are \{path\} \{dir\}/],
    ['{}', 'objects', /unknown \{\}/],
    ['a{path', 'objects', /has a \{ without a \}: \{path/],
    ['a}', 'objects', /has a \} without a \{/],
    ['{{path}}', 'objects', /has a \{ without a \}/],
    ['vendor/', 'objects', /ends with a slash: say what comes below, like vendor\/\{path\}/],
    ['../{path}', 'objects', /segment "\.\."/],
    ['a/{id}', 'objects', /\{id\} is for `mode: records`/],
    ['{path}', 'records', /\{path\} is for `mode: objects`/],
    ['{date}', 'records', /must hold \{id\}/],
  ]
  for (const [template, mode, problem] of cases) assert.match(keyProblem(template, mode) ?? 'none', problem, template)
  assert.equal(keyProblem('fixed.csv', 'objects'), undefined)
  assert.equal(keyProblem('{pipeline}/{bucket}/{date}/{id}{ext}', 'records'), undefined)
  assert.equal(textProblem('', 'objects'), undefined)
})

test('the fixed prefix ends where keys begin to differ', () => {
  assert.equal(fixedPrefix('a/{pipeline}/b-{path}', 'p'), 'a/p/b-')
  assert.equal(fixedPrefix('{path}', 'p'), '')
  assert.equal(fixedPrefix('fixed.csv', 'p'), 'fixed.csv')
})

test('records of one key but for the id are of one group', () => {
  const keys = new RecordKeys('{pipeline}/{yyyy}/{HH}/{id}{ext}', 'p')
  const late = { ...objectOf('late'), timeMs: timeMs + 3_600_000 }
  assert.equal(keys.groupOf(objectOf('a'), '.log'), keys.groupOf(objectOf('b'), '.log'))
  assert.notEqual(keys.groupOf(objectOf('a'), '.log'), keys.groupOf(late, '.log'))
  assert.equal(keys.keyOf(late, 'abc', '.log.gz'), 'p/2026/06/abc.log.gz')
  const long = new RecordKeys('{bucket}/{id}', 'p')
  assert.throws(
    () => long.keyOf({ ...late, bucket: 'x'.repeat(1024) }, 'abc', ''),
    (error) => error instanceof StreamError && error.kind === 'permanent' && /records of x+/.test(error.message),
  )
})

test('texts that are no keys keep everything', () => {
  assert.equal(objectText('/{dir}/{name}//', objectOf('a b'), 'p'), '//a b//')
  assert.equal(recordText('{pipeline}:{id}{ext}', objectOf('a'), { id: '1', ext: '.log', pipeline: 'p' }), 'p:1.log')
})
