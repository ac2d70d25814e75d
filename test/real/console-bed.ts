/** The console in real Chromium: every page of it is watched, so that no test passes while the browser complains. */
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { consoleConfig, healthConfig } from '../../src/console/config.ts'
import { pageFiles } from '../../src/console/page-files.ts'
import { openServer } from '../../src/console/server.ts'
import { type FakeOperations, fakeOperations } from '../servers/console-fake.ts'
import type { Scene } from '../servers/console-fake-data.ts'
import { freePort } from './process.ts'

export const token = 'a-token-for-tests'

/** Kept until the next time. */
const screenshots = join(
  process.env.S3_STREAMER_TEST_CACHE ?? fileURLToPath(new URL('.cache', import.meta.url)),
  'screenshots',
)

const nothing = () => undefined
const log = { debug: nothing, info: nothing, warn: nothing, error: nothing }

/** `console.test` is this machine by another name. Throws if test/real/setup was not run. */
export function startChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
      ...['--disable-component-update', '--disable-sync', '--host-resolver-rules=MAP console.test 127.0.0.1'],
    ],
  })
}

export interface Served extends AsyncDisposable {
  readonly address: string
  readonly operations: FakeOperations
}

/** The real server before a streamer that is made up. */
export async function serve(
  scene: Scene,
  o: { readonly port?: number; readonly token?: string } = {},
): Promise<Served> {
  const operations = fakeOperations(scene)
  const port = o.port ?? (await freePort())
  const server = await openServer({
    config: {
      health: healthConfig.parse({ address: `127.0.0.1:${port}` }),
      console: consoleConfig.parse(o.token === undefined ? {} : { token: o.token }),
    },
    ...{ operations, dependencies: () => [], page: pageFiles(), hide: String, log },
  })
  return { address: `http://127.0.0.1:${port}`, operations, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}

export interface Watched extends AsyncDisposable {
  readonly page: Page
  /** Keeps how it looks as test output. */
  shoot(name: string): Promise<void>
}

/** Opens a page; fails when it is closed if the browser complained of anything else than `expected`, or asked another host. */
export async function open(
  browser: Browser,
  url: string,
  { expected, ...o }: BrowserContextOptions & { readonly expected?: RegExp } = {},
): Promise<Watched> {
  const context = await browser.newContext({
    viewport: { width: 1360, height: 900 },
    timezoneId: 'Europe/Berlin',
    ...o,
  })
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('console', (message) => {
    if (message.type() !== 'log') complaints.push(`${message.type()}: ${message.text()}`)
  })
  page.on('pageerror', (error) => complaints.push(`${error.stack}`))
  page.on('dialog', (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) complaints.push(`request to ${request.url()}`)
  })
  await page.goto(url)
  return {
    page,
    async shoot(name) {
      mkdirSync(screenshots, { recursive: true })
      await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true })
    },
    async [Symbol.asyncDispose]() {
      await context.close()
      assert.deepEqual(
        complaints.filter((one) => !expected?.test(one)),
        [],
        `complaints of the browser at ${url}`,
      )
    },
  }
}

/** Types the token into the form that asks for it. */
export async function signIn(page: Page, shown = token): Promise<void> {
  await page.getByLabel('Token').fill(shown)
  await page.getByRole('button', { name: 'Sign in' }).last().click()
}
