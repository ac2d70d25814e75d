/** What can be measured of a page that everybody should be able to use: run in the browser, each gives what is wrong. */
import type { Page } from 'playwright-core'

/** Less contrast than WCAG AA asks for, of every text that is shown. */
export function lowContrast(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    type Rgba = readonly [number, number, number, number]
    const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 })
    const context = canvas.getContext('2d', { willReadFrequently: true })
    const known = new Map<string, Rgba>()
    const rgba = (colour: string): Rgba => {
      const before = known.get(colour)
      if (before) return before
      if (!context) return [0, 0, 0, 0]
      context.clearRect(0, 0, 1, 1)
      context.fillStyle = colour
      context.fillRect(0, 0, 1, 1)
      const [r = 0, g = 0, b = 0, a = 0] = context.getImageData(0, 0, 1, 1).data
      known.set(colour, [r, g, b, a / 255])
      return [r, g, b, a / 255]
    }
    const over = (front: Rgba, back: Rgba): Rgba => {
      const mix = (i: 0 | 1 | 2) => front[i] * front[3] + back[i] * (1 - front[3])
      return [mix(0), mix(1), mix(2), 1]
    }
    const luminance = ([r, g, b]: Rgba) => {
      const [x = 0, y = 0, z = 0] = [r, g, b].map((c) =>
        c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4,
      )
      return 0.2126 * x + 0.7152 * y + 0.0722 * z
    }
    const behind = (element: Element): Rgba => {
      const own = rgba(getComputedStyle(element).backgroundColor)
      if (own[3] === 1) return own
      return over(own, element.parentElement ? behind(element.parentElement) : [255, 255, 255, 1])
    }
    const found = new Set<string>()
    for (const element of document.querySelectorAll<HTMLElement>('body *')) {
      const words = [...element.childNodes].filter(
        (node) => node.nodeType === Node.TEXT_NODE && node.textContent?.trim(),
      )
      if (words.length === 0 || !element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue
      // WCAG asks nothing of what cannot be used.
      if (element.closest(':disabled, .unseen, .skip')) continue
      const { color, fontSize, fontWeight } = getComputedStyle(element)
      const back = behind(element)
      const [a, b] = [luminance(over(rgba(color), back)), luminance(back)]
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
      const size = Number.parseFloat(fontSize)
      const isLarge = size >= 24 || (size >= 18.66 && Number(fontWeight) >= 700)
      if (ratio < (isLarge ? 3 : 4.5))
        found.add(`${ratio.toFixed(2)} ${element.className} ${words[0]?.textContent?.slice(0, 40)}`)
    }
    return [...found]
  })
}

/** Controls without a name, ids that are there twice, headings that leave out a level, tables without headings. */
export function badStructure(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const found: string[] = []
    const html = (element: Element) => element.outerHTML.slice(0, 120)
    for (const control of document.querySelectorAll('button, a[href], input:not([type=hidden]), select, dialog')) {
      const labels =
        control instanceof HTMLInputElement || control instanceof HTMLSelectElement ? [...(control.labels ?? [])] : []
      const by = (control.getAttribute('aria-labelledby') ?? '').split(' ').map((id) => document.getElementById(id))
      const named = [control, ...labels, ...by].map((one) => one?.textContent ?? '').join('')
      const name = `${control.getAttribute('aria-label') ?? ''}${named}`.trim()
      if (name === '' && control.checkVisibility()) found.push(`no name: ${html(control)}`)
    }
    const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id)
    if (new Set(ids).size !== ids.length) found.push(`an id twice: ${ids}`)
    let level = 0
    for (const heading of document.querySelectorAll('h1, h2, h3, h4')) {
      const own = Number(heading.tagName.slice(1))
      if (own > level + 1) found.push(`level left out before: ${html(heading)}`)
      level = own
    }
    for (const table of document.querySelectorAll('table')) {
      if (!table.caption?.textContent) found.push(`no caption: ${html(table)}`)
      if (table.querySelectorAll('th[scope=col]').length !== table.rows[0]?.cells.length)
        found.push(`no headings: ${html(table)}`)
      for (const row of table.tBodies[0]?.rows ?? [])
        if (!row.querySelector('th[scope=row]')) found.push(`nameless row: ${html(row)}`)
    }
    for (const landmark of ['main', 'header', 'h1', '[role=status]']) {
      if (document.querySelectorAll(landmark).length !== 1 && landmark !== 'header') found.push(`not once: ${landmark}`)
    }
    for (const image of document.querySelectorAll('svg:not([aria-hidden]), [role=img]:not([aria-label])'))
      found.push(`no text: ${html(image)}`)
    return found
  })
}

/** How far the page can be moved sideways, in pixels. */
export function sideways(page: Page): Promise<number> {
  return page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
}

/** Controls that a finger misses: lower or narrower than 24 pixels (WCAG 2.5.8), but for links in a text. */
export function tooSmall(page: Page): Promise<string[]> {
  return page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>('button, select, input, nav a')]
      .filter((control) => control.checkVisibility() && !control.closest('.unseen, .skip'))
      .map((control) => ({ control, box: (control.closest('label') ?? control).getBoundingClientRect() }))
      .filter(({ box }) => box.height < 24 || box.width < 16)
      .map(
        ({ control, box }) => `${Math.round(box.width)}×${Math.round(box.height)} ${control.outerHTML.slice(0, 100)}`,
      ),
  )
}
