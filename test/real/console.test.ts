import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Page } from 'playwright-core'
import { hostileKey, type Scene } from '../servers/console-fake-data.ts'
import { open, serve, signIn, startChromium, token } from './console-bed.ts'
import { badStructure, lowContrast, sideways, tooSmall } from './console-checks.ts'
import { freePort } from './process.ts'

const browser = await startChromium()
after(() => browser.close())

const parts = ['overview', 'objects', 'quarantine', 'runs', 'replays', 'config'] as const
const looks = {
  light: { colorScheme: 'light', viewport: { width: 1360, height: 900 } },
  dark: { colorScheme: 'dark', viewport: { width: 1360, height: 900 } },
  // As a page of 640 pixels at 200 %.
  phone: { colorScheme: 'light', viewport: { width: 320, height: 700 }, hasTouch: true },
} as const

/** Until the part shows what it was asked for. */
async function shown(page: Page, part: string): Promise<void> {
  const sign =
    part === 'overview' ? '.verdict' : part === 'config' ? 'pre.config:not(:empty)' : 'main .card :is(table, .empty)'
  await page.locator(sign).first().waitFor()
}

/** Until so many rows are drawn. */
async function rows(page: Page, count: number): Promise<void> {
  const row = page.locator('tbody tr')
  if (count > 0) await row.nth(count - 1).waitFor()
  await row.nth(count).waitFor({ state: 'detached' })
}

for (const scene of ['empty', 'busy', 'trouble', 'many'] satisfies Scene[]) {
  test(`${scene}: every part in light, dark and on a phone: readable, named, no wider than the screen, no complaint`, async () => {
    await using served = await serve(scene)
    for (const [look, options] of Object.entries(looks)) {
      await using watched = await open(browser, `${served.address}/`, options)
      const { page } = watched
      for (const part of parts) {
        await page.evaluate((hash) => {
          location.hash = hash
        }, part)
        await shown(page, part)
        const where = `${scene} ${part} ${look}`
        assert.deepEqual(await lowContrast(page), [], `${where}: contrast`)
        assert.deepEqual(await badStructure(page), [], `${where}: structure`)
        assert.deepEqual(await tooSmall(page), [], `${where}: size of controls`)
        assert.ok((await sideways(page)) <= 0, `${where}: it can be moved sideways`)
        if (part === 'overview') await page.locator('.uplot canvas').first().waitFor({ state: 'attached' })
        await watched.shoot(`${scene}-${part}-${look}`)
      }
    }
  })
}

test('the sentence at the top says that all is well, and what is wrong, worst first', async () => {
  await using well = await serve('busy')
  await using quiet = await open(browser, well.address)
  await quiet.page.getByRole('heading', { name: 'All well' }).waitFor()
  assert.match(
    await quiet.page.locator('.verdict p').innerText(),
    /^[\d,]+ records read, all accounted for\. 4,402 objects copied\.$/,
  )
  assert.match(await quiet.page.title(), /^All well · s3-streamer ingest-eu-3$/)

  await using ill = await serve('trouble')
  await using loud = await open(browser, ill.address)
  await loud.page.getByRole('heading', { name: '2 problems, 3 warnings' }).waitFor()
  const [first = ''] = await loud.page.locator('.verdict li').allInnerTexts()
  assert.match(first, /web-logs Its state cannot be saved/)
  assert.equal(await loud.page.getByRole('status').innerText(), '2 problems, 3 warnings')
})

test('a mismatch of the counts is loud', async () => {
  await using served = await serve('busy')
  const snapshot = served.operations.snapshot()
  const [first] = snapshot.pipelines
  assert.ok(first)
  const counts = { ...first.counts, read: first.counts.read + 5 }
  served.operations.change({ pipelines: [{ ...first, counts }] })
  await using watched = await open(browser, served.address)
  await watched.page.getByRole('heading', { name: '1 problem' }).waitFor()
  await watched.page.locator('.balance').getByText('5 records missing').waitFor()
})

test('requeue by click: it asks for the token once, does it, says so, and the entry shows it', async () => {
  await using served = await serve('trouble', { token })
  await using watched = await open(browser, `${served.address}/#quarantine`, { expected: /401/ })
  const { page } = watched
  await page.getByRole('button', { name: 'Requeue entry 1', exact: true }).click()
  await signIn(page, 'not-the-token-at-all')
  await page.getByText('that is not the token').waitFor()
  await signIn(page)
  await page.getByRole('status').filter({ hasText: '1 entry will be tried again.' }).waitFor({ state: 'attached' })
  await page.getByRole('row', { name: 'Choose entry 1 ' }).first().getByText('To be tried again').waitFor()
  await page.getByRole('checkbox', { name: 'Choose entry 3' }).check()
  await page.getByRole('checkbox', { name: 'Choose entry 6' }).check()
  await page.getByRole('button', { name: 'Requeue chosen' }).click()
  await page.getByText('2 entries will be tried again.').last().waitFor()
  assert.deepEqual(served.operations.asked, ['requeue web-logs 1', 'requeue web-logs 3,6'])
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByRole('button', { name: 'Sign in' }).waitFor()
})

test('requeue by keyboard alone: the focus is seen, goes into the dialog, stays there, and comes back', async () => {
  await using served = await serve('trouble', { token })
  await using watched = await open(browser, `${served.address}/#quarantine`)
  const { page } = watched
  await shown(page, 'quarantine')
  const focused = () =>
    page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent ?? '')
  for (let presses = 0; (await focused()) !== 'Show entry 2'; presses++) {
    assert.ok(presses < 60, 'it is reached by Tab')
    await page.keyboard.press('Tab')
  }
  assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement as Element).outlineStyle), 'none')
  await page.keyboard.press('Enter')
  await page.getByRole('dialog', { name: 'Quarantine entry 2' }).waitFor()
  for (let presses = 0; presses < 12; presses++) {
    await page.keyboard.press('Tab')
    const where = await page.evaluate(() => {
      const { activeElement } = document
      return activeElement === document.body || activeElement?.closest('dialog') !== null
    })
    assert.ok(where, 'the focus stays in the dialog')
  }
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  assert.equal(await focused(), 'Show entry 2')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Space')
  await page.getByRole('dialog', { name: 'Requeue entry 2: sign in first' }).waitFor()
  await page.keyboard.type(token)
  await page.keyboard.press('Enter')
  await page.getByText('1 entry will be tried again.').last().waitFor()
  assert.deepEqual(served.operations.asked, ['requeue web-logs 2'])
})

test('to drop is asked first, and Escape is a no', async () => {
  await using served = await serve('trouble', { token })
  await using watched = await open(browser, `${served.address}/#quarantine`)
  const { page } = watched
  await page.getByRole('button', { name: 'Sign in' }).click()
  await signIn(page)
  await page.getByRole('checkbox', { name: 'Choose all' }).check()
  await page.getByRole('button', { name: 'Drop chosen' }).click()
  const dialog = page.getByRole('dialog', { name: 'Drop 12 entries' })
  await dialog.getByText('There is no way back').waitFor()
  await page.keyboard.press('Escape')
  await dialog.waitFor({ state: 'detached' })
  assert.deepEqual(served.operations.asked, [])
  await page.getByRole('button', { name: 'Drop chosen' }).click()
  await dialog.getByRole('button', { name: 'Drop 12 entries' }).click()
  await page.getByText('Quarantine is empty').waitFor()
  assert.match(served.operations.asked.join(), /^drop web-logs 1,2,3/)
})

test('without a token it says what to set, and the very command', async () => {
  await using served = await serve('trouble')
  await using watched = await open(browser, `${served.address}/#quarantine`)
  const { page } = watched
  await page.getByRole('button', { name: 'Requeue entry 7' }).click()
  const dialog = page.getByRole('dialog', { name: 'Requeue entry 7' })
  const command = 's3-streamer quarantine requeue 7 --pipeline web-logs --config /etc/s3-streamer/config.yaml'
  assert.equal(await dialog.locator('.command code').innerText(), command)
  assert.match(await dialog.innerText(), /console:\s+token:/)
  await dialog.getByRole('button', { name: 'Copy' }).click()
  assert.deepEqual(served.operations.asked, [])
})

test('when the streamer is gone the page says so, and comes back by itself', async () => {
  const port = await freePort()
  const first = await serve('busy', { port })
  await using watched = await open(browser, first.address, {
    expected: /ERR_(CONNECTION_REFUSED|INCOMPLETE_CHUNKED_ENCODING|CONNECTION_RESET|EMPTY_RESPONSE)/,
  })
  const { page } = watched
  await page.getByRole('heading', { name: 'All well' }).waitFor()
  await first[Symbol.asyncDispose]()
  await page.getByRole('heading', { name: 'The streamer does not answer' }).waitFor()
  await page.getByText(/Not answering, last seen \d\d:\d\d:\d\d/).waitFor()
  await page.getByText('11,990/s').waitFor()
  await using _again = await serve('busy', { port })
  await page.getByRole('heading', { name: 'All well' }).waitFor()
})

test('by another name than localhost it shows nothing before the token, and nothing at all if there is none', async () => {
  await using locked = await serve('busy', { token })
  const elsewhere = ({ address }: { readonly address: string }) => address.replace('127.0.0.1', 'console.test')
  await using watched = await open(browser, elsewhere(locked), { expected: /401|Cross-Origin-Opener-Policy/ })
  const { page } = watched
  await page.getByRole('heading', { name: 'Sign in' }).waitFor()
  assert.doesNotMatch(await page.innerText('body'), /web-logs|ingest-eu-3/)
  await signIn(page)
  await page.getByRole('heading', { name: 'All well' }).waitFor()

  await using closed = await serve('busy')
  await using refused = await open(browser, elsewhere(closed), { expected: /403|Cross-Origin-Opener-Policy/ })
  assert.match(await refused.page.innerText('body'), /console\.token/)
})

test('a hostile key is only text, and its control characters are seen', async () => {
  await using served = await serve('trouble')
  for (const part of ['overview', 'objects', 'quarantine']) {
    await using watched = await open(browser, `${served.address}/#${part}`)
    const { page } = watched
    await shown(page, part)
    assert.equal(await page.locator('img, script:not([type]):not([src]), b:has-text("someone")').count(), 0)
    const key = page.locator('details.key').first()
    await key.locator('summary').click()
    const text = await key.evaluate((element) => element.lastChild?.textContent ?? '')
    const visible = hostileKey.replace('\u202E', '‹U+202E›').replace('\n', '‹U+000A›')
    assert.ok(text.endsWith(visible), part)
  }
})

test('100 pipelines and 1,000 entries: what is looked for is found, and only what can be read is drawn', async () => {
  await using served = await serve('many')
  await using watched = await open(browser, served.address)
  const { page } = watched
  await page.getByRole('searchbox').fill('tenant-042')
  await rows(page, 1)
  await page.getByRole('link', { name: 'tenant-042' }).click()
  await page.getByRole('heading', { name: 'tenant-042' }).waitFor()
  await page.getByRole('link', { name: '← All pipelines' }).click()
  await rows(page, 100)
  await page.getByRole('link', { name: /^Quarantine/ }).click()
  await page.getByText('1,000 entries').waitFor()
  await rows(page, 100)
  await page.getByRole('checkbox', { name: 'Choose all' }).check()
  await page.getByText('1,000 chosen').waitFor()
  await page.getByRole('searchbox').fill('corrupt')
  await page.getByText('200 entries').waitFor()
})

test('a replay is planned, started, shown and cancelled; a reload tells what it did', async () => {
  await using served = await serve('busy', { token })
  await using watched = await open(browser, `${served.address}/#replays`)
  const { page } = watched
  await page.getByRole('button', { name: 'New replay' }).click()
  await page.getByLabel('Objects from').fill('2026-11-21T10:00')
  await page.getByLabel('to, not included').fill('2026-11-21T12:30')
  await page.getByLabel('Only keys that begin with').fill('web/')
  await page.getByText('In UTC: 2026-11-21 09:00 to 2026-11-21 11:30').waitFor()
  await page.getByRole('button', { name: 'Plan', exact: true }).click()
  await signIn(page)
  await page.getByText('15 min 40 s').waitFor()
  await page.getByText('Their records are sent once more').waitFor()
  await page.getByLabel('Only keys that begin with').fill('web/other/')
  assert.equal(await page.getByRole('button', { name: 'Start' }).count(), 0, 'a plan holds for what it was made for')
  await page.getByRole('button', { name: 'Plan', exact: true }).click()
  await page.getByRole('button', { name: 'Start' }).click()
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  await page.getByRole('row', { name: /^2 web-logs .*web\/other\// }).waitFor()
  await page.getByRole('button', { name: 'Cancel replay 2' }).click()
  await page.getByRole('row', { name: /^2 / }).getByText('Cancelled').waitFor()
  await page.getByRole('link', { name: 'Configuration' }).click()
  await page.getByRole('button', { name: 'Reload the file' }).click()
  await page.getByText(/Reloaded at .*: started audit; unchanged web-logs\./).waitFor()
  assert.deepEqual(served.operations.asked, [
    'plan web-logs web/',
    'plan web-logs web/other/',
    'replay web-logs web/other/',
    'cancel web-logs 2',
    'reload',
  ])
})

test('with reduced motion nothing moves', async () => {
  await using served = await serve('busy')
  await using watched = await open(browser, served.address, { reducedMotion: 'reduce' })
  const { page } = watched
  await shown(page, 'overview')
  const moving = await page.evaluate(
    () =>
      [...document.querySelectorAll('*')].filter(
        (one) => Number.parseFloat(getComputedStyle(one).transitionDuration) > 0,
      ).length,
  )
  assert.equal(moving, 0)
})
