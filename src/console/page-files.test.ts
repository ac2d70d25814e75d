import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { pageFiles } from './page-files.ts'

const files = pageFiles()
const textOf = async (path: string) => (await files.file(path))?.body.toString() ?? assert.fail(`${path} is not there`)
const [, importMap = ''] = /<script type="importmap">(.*?)<\/script>/s.exec(await textOf('/')) ?? []
const { imports } = JSON.parse(importMap) as { imports: Record<string, string> }

/** Paths of the files that this one asks for. */
async function askedBy(path: string): Promise<string[]> {
  const text = await textOf(path)
  const page = text.replaceAll(/<link rel="modulepreload".*/g, '')
  if (path === '/') return [...page.matchAll(/(?:href|src)="([^"#]+)"/g)].map(([, to]) => `/${to}`)
  const statements = text.matchAll(/(?:^|[;}])(?:import|export)\b(?:[^'"`;]*?\bfrom)?\s*["']([^"']+)["']/gm)
  const specifiers = [...statements].map(([, specifier = '']) => specifier)
  return specifiers.map((to) => {
    const mapped = imports[to]
    return new URL(mapped ?? to, mapped ? 'http://host/' : `http://host${path}`).pathname
  })
}

test('from the page every file of the list is reached, and none that is not there', async () => {
  const reached = new Set<string>()
  const open = ['/']
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (reached.has(path)) continue
    reached.add(path)
    if (path === '/' || /\.[tj]s$/.test(path)) open.push(...(await askedBy(path)))
  }
  assert.deepEqual([...reached].sort(), [...files.paths].sort())
})

test('the page says at once which modules there are', async () => {
  const text = await textOf('/')
  const preloads = [...text.matchAll(/<link rel="modulepreload" href="([^"]+)">/g)].map(([, path]) => `/${path}`)
  assert.deepEqual(
    preloads,
    files.paths.filter((path) => /\.[tj]s$/.test(path)),
  )
})

test('each file in the folder of the page is in the list', async () => {
  const inFolder = readdirSync(new URL('page', import.meta.url)).filter(
    (name) => /\.(ts|css)$/.test(name) && !name.endsWith('.test.ts'),
  )
  for (const name of inFolder) assert.ok(await files.file(`/src/console/page/${name}`), name)
})

test('the only inline script is the import map, and its hash is given for the Content-Security-Policy', async () => {
  assert.deepEqual(files.scriptSources, [`'sha256-${createHash('sha256').update(importMap).digest('base64')}'`])
  const text = await textOf('/')
  const scripts = [...text.matchAll(/<script([^>]*)>(.*?)<\/script>/gs)]
  for (const [, attributes = '', body] of scripts)
    assert.ok(body === importMap || attributes.includes('src='), attributes)
  assert.doesNotMatch(text, /<style| style=| on[a-z]+=/)
})

test('types are stripped, and every form of a file has the same content', async () => {
  const file = await files.file('/src/console/verdict.ts')
  assert.ok(file)
  assert.match(file.type, /^text\/javascript/)
  assert.doesNotMatch(file.body.toString(), /interface Verdict|: Snapshot/)
  assert.deepEqual(gunzipSync(file.gzip), file.body)
  assert.match(file.etag, /^"[\w-]{22}"$/)
  assert.equal(await files.file('/src/console/verdict.ts'), file, 'it is made once')
})

test('a path that is not in the list is no file, whatever it looks like', async () => {
  for (const path of [
    '',
    '/src/main.ts',
    '/src/console/page/../server.ts',
    '/src/../package.json',
    '/constructor',
    '/lib/',
  ]) {
    assert.equal(await files.file(path), undefined, path)
  }
})

test('the whole page is less than 80 kB on the wire', async () => {
  const all = await Promise.all(files.paths.map((path) => files.file(path)))
  const bytes = all.reduce((sum, file) => sum + (file?.gzip.length ?? 0), 0)
  assert.ok(bytes < 80_000, `${bytes} bytes`)
})
