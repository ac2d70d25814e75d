/** The console of a real run: the command reads a bucket, and what the page shows is what /metrics says. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import type { Page } from 'playwright-core'
import { type Command, Installation } from '../e2e/command.ts'
import { startHttpInput } from '../servers/http-input.ts'
import { parsePrometheus } from '../servers/prometheus-parse.ts'
import { startS3 } from '../servers/s3.ts'
import { open, signIn, startChromium, token } from './console-bed.ts'
import { freePort } from './process.ts'

const browser = await startChromium()
after(() => browser.close())

const objects = 12
const lines = 400
/** What the input says to the one batch that it refuses. */
const word = 'unwelcome'

function body(object: number): Buffer {
  const text = Array.from({ length: lines }, (_, i) => {
    return JSON.stringify({ object, line: i, kind: i % 10 === 0 ? 'debug' : 'info' })
  })
  return gzipSync(`${text.join('\n')}\n`)
}

/** Sum of the series of one name. */
async function metric(address: string, name: string): Promise<number> {
  const families = parsePrometheus(await (await fetch(`${address}/metrics`)).text())
  return families.get(name)?.samples.reduce((sum, { value }) => sum + value, 0) ?? Number.NaN
}

async function until(streamer: Command, isSo: () => Promise<boolean>, what: string): Promise<void> {
  for (const end = Date.now() + 30_000; ; await sleep(50)) {
    if (await isSo().catch(() => false)) return
    if (Date.now() > end || streamer.hasEnded)
      assert.fail(`waiting for ${what} in vain: ${streamer.output.slice(-3000)}`)
  }
}

/** The number before a word of the balance. */
async function balanced(page: Page, name: string): Promise<number> {
  const text = await page.locator('.sum > span', { hasText: name }).locator('b').innerText()
  return Number(text.replaceAll(',', ''))
}

test('a run that has come to rest: figures of the page are those of /metrics, and requeue delivers', async () => {
  await using stack = new AsyncDisposableStack()
  const s3 = await startS3()
  stack.defer(() => s3.close())
  const input = await startHttpInput({
    fault: (n) => (n === 1 ? { status: 400, body: word } : undefined),
  })
  stack.defer(() => input.close())
  const port = await freePort()
  const address = `http://127.0.0.1:${port}`
  const installation = new Installation({
    endpoint: s3.endpoint,
    prefix: 'web/',
    inputs: [input.url],
    more: `filter: 'kind != "debug"'
health: { address: "127.0.0.1:${port}" }
console: { token: "${token}" }`,
  })
  stack.defer(() => installation.remove())
  for (let i = 0; i < objects; i++) {
    s3.put(`web/object-${i}.gz`, body(i), { lastModified: new Date(Date.now() - 60_000 + i * 1000) })
  }
  const streamer = installation.start([])
  stack.defer(async () => {
    await streamer.kill('SIGTERM')
  })
  const read = objects * lines
  await until(
    streamer,
    async () => {
      return (
        (await metric(address, 'records_read_total')) === read && (await metric(address, 'objects_in_flight')) === 0
      )
    },
    'the end of the objects',
  )

  await using watched = await open(browser, address, {
    expected: /ERR_(CONNECTION_REFUSED|INCOMPLETE_CHUNKED_ENCODING|CONNECTION_RESET|EMPTY_RESPONSE)/,
  })
  const { page } = watched
  await page.getByRole('heading', { name: '1 warning, nothing lost' }).waitFor()
  for (const name of ['read', 'delivered', 'filtered', 'quarantined']) {
    assert.equal(await balanced(page, name), await metric(address, `records_${name}_total`), name)
  }
  assert.equal(await balanced(page, 'read'), read)
  const quarantined = await balanced(page, 'quarantined')
  assert.ok(quarantined > 0)
  await page.getByText('Balances').waitFor()
  const figures = new Map<string, string>()
  for (const figure of await page.locator('[data-figure]').all()) {
    figures.set((await figure.getAttribute('data-figure')) ?? '', await figure.innerText())
  }
  assert.equal(Number(figures.get('Quarantine')), await metric(address, 'quarantine_entries'))
  assert.equal(Number(figures.get('Retries')), await metric(address, 'sink_retries_total'))
  assert.equal(Number(figures.get('Waiting')), 0)
  assert.equal(figures.get('Lag'), '0 s')
  assert.equal(await metric(address, 'processing_lag_seconds'), 0)
  assert.match(await page.locator('.verdict p').innerText(), /^4,800 records read, all accounted for\.$/)
  await page
    .getByRole('row', { name: new RegExp(`${input.url}.* sink`) })
    .getByText('Up')
    .waitFor()
  await watched.shoot('run-overview')

  await page
    .getByRole('link', { name: /^Quarantine/ })
    .first()
    .click()
  await page
    .getByRole('button', { name: /^Show entry/ })
    .first()
    .click()
  await page.getByRole('dialog').getByText(word).first().waitFor()
  await page.keyboard.press('Escape')
  await watched.shoot('run-quarantine')
  await page.getByRole('button', { name: 'Requeue all' }).click()
  await signIn(page)
  await page.getByText('Quarantine is empty').waitFor()
  await until(streamer, async () => new Set(input.lines).size === lines * objects * 0.9, 'what was in quarantine')
  await page.getByRole('link', { name: 'Overview' }).click()
  await page.getByRole('heading', { name: 'All well' }).waitFor()
  assert.equal(await metric(address, 'records_recovered_total'), quarantined)
  for (const [part, sign] of [
    ['Objects', 'web/object-3.gz'],
    ['Runs', 'Running'],
    ['Configuration', 'web/'],
  ] as const) {
    await page.getByRole('link', { name: part, exact: true }).click()
    await page.getByText(sign).first().waitFor()
    await watched.shoot(`run-${part.toLowerCase()}`)
  }
  assert.doesNotMatch(await page.innerText('pre.config'), new RegExp(token))

  await streamer.kill('SIGTERM')
  await page.getByText('Not answering').waitFor()
})
