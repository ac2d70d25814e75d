/**
 * The files of the page as the browser gets them. Nothing is built beforehand: types are stripped from
 * our own files when they are first asked for, and the three libraries are taken as they came. All reading is here, so that a
 * program in one file need replace only `read`.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { PageFile, PageFiles } from './page-file.ts'
import { withoutTypes } from './strip-types.ts'

const compress = promisify(gzip)

/** Also what a server can use that compresses and caches. */
export interface PageFileForms extends PageFile {
  /** The body for a browser that takes gzip. */
  readonly gzip: Buffer
  /** Strong, with its quotes: the same as long as the content is. */
  readonly etag: string
}

export interface PageFileList extends PageFiles {
  file(path: string): Promise<PageFileForms | undefined>
  readonly paths: readonly string[]
}

/** Paths below `src/`: so an `import` means the same in the browser and in Node. */
const ownFiles = [
  'console/page/main.ts',
  'console/page/html.ts',
  'console/page/app.ts',
  'console/page/app-head.ts',
  'console/page/operator.ts',
  'console/page/operator-dialogs.ts',
  'console/page/requests.ts',
  'console/page/live.ts',
  'console/page/listing.ts',
  'console/page/choice.ts',
  'console/page/history.ts',
  'console/page/route.ts',
  'console/page/text.ts',
  'console/page/marks.ts',
  'console/page/table.ts',
  'console/page/dialog.ts',
  'console/page/chart.ts',
  'console/page/overview.ts',
  'console/page/pipeline-list.ts',
  'console/page/pipeline-panel.ts',
  'console/page/balance.ts',
  'console/page/quarantine.ts',
  'console/page/quarantine-entry.ts',
  'console/page/objects.ts',
  'console/page/runs.ts',
  'console/page/replays.ts',
  'console/page/replay-form.ts',
  'console/page/config-view.ts',
  'console/verdict.ts',
  'telemetry/figures.ts',
]

const styles = ['console/page/base.css', 'console/page/parts.css', 'console/page/tables.css', 'console/page/forms.css']

interface Library {
  readonly path: string
  /** Of its package, and the file beside the one that this names. */
  readonly name: string
  readonly file: string
  /** What makes a module of it. */
  readonly end: string
}

const libraries: readonly Library[] = [
  { path: '/lib/preact.js', name: 'preact', file: 'preact.mjs', end: '' },
  { path: '/lib/preact-hooks.js', name: 'preact/hooks', file: 'hooks.mjs', end: '' },
  { path: '/lib/htm.js', name: 'htm', file: 'htm.mjs', end: '' },
  // The module of uPlot is three times as large as this.
  { path: '/lib/uplot.js', name: 'uplot', file: 'uPlot.iife.min.js', end: '\nexport default uPlot\n' },
  { path: '/lib/uplot.css', name: 'uplot', file: 'uPlot.min.css', end: '' },
]

const types: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
  ts: 'text/javascript; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
}

export function pageFiles(): PageFileList {
  let stripped: Promise<readonly string[]> | undefined
  /** All at once: the page needs all of them. */
  const own = async (index: number) => {
    stripped ??= withoutTypes(ownFiles.map(read))
    return (await stripped)[index] ?? ''
  }
  const sources = new Map<string, () => string | Promise<string>>([
    ['/', () => withPreloads(read('console/page/index.html'))],
    ['/favicon.svg', () => read('console/page/favicon.svg')],
    ...styles.map((path) => [`/src/${path}`, () => read(path)] as const),
    ...ownFiles.map((path, index) => [`/src/${path}`, () => own(index)] as const),
    ...libraries.map((library) => [library.path, () => readLibrary(library)] as const),
  ])
  const made = new Map<string, Promise<PageFileForms>>()
  return {
    paths: [...sources.keys()],
    async file(path) {
      const source = sources.get(path)
      if (!source) return undefined
      let file = made.get(path)
      if (!file) {
        file = pageFile(path === '/' ? 'html' : path.slice(path.lastIndexOf('.') + 1), source)
        made.set(path, file)
        // What could not be read may be there when it is asked for again.
        file.catch(() => made.delete(path))
      }
      return await file
    },
    scriptSources: [`'sha256-${digest(importMap(read('console/page/index.html')), 'base64')}'`],
  }
}

async function pageFile(extension: string, source: () => string | Promise<string>): Promise<PageFileForms> {
  const body = Buffer.from(await source())
  return {
    type: types[extension] ?? 'application/octet-stream',
    body,
    gzip: await compress(body, { level: 9 }),
    etag: `"${digest(body, 'base64url').slice(0, 22)}"`,
  }
}

/** Says at once what modules there are, or each would be known only after the one that imports it has come. */
function withPreloads(page: string): string {
  const modules = [...ownFiles.map((path) => `src/${path}`), ...libraries.map(({ path }) => path.slice(1))]
  const links = modules
    .filter((path) => !path.endsWith('.css'))
    .map((path) => `<link rel="modulepreload" href="${path}">`)
  return page.replace('</head>', `${links.join('\n')}\n</head>`)
}

/** The one script that stands in the page, which is how browsers know what `import 'preact'` means. */
function importMap(page: string): string {
  const [, map] = /<script type="importmap">(.*?)<\/script>/s.exec(page) ?? []
  if (map === undefined) throw new TypeError('src/console/page/index.html has no import map')
  return map
}

function digest(content: string | Buffer, encoding: 'base64' | 'base64url'): string {
  return createHash('sha256').update(content).digest(encoding)
}

function read(path: string): string {
  return readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')
}

function readLibrary({ name, file, end }: Library): string {
  return readFileSync(new URL(file, import.meta.resolve(name)), 'utf8') + end
}
