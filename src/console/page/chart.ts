/** One line over the last hour. The figures beneath it say the same to those who do not see it. */

import type { VNode } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import UPlot from 'uplot'
import { html } from './html.ts'

export interface ChartProps {
  readonly title: string
  readonly times: readonly number[]
  readonly values: readonly number[]
  /** A value for people. */
  readonly show: (value: number) => string
  /** The same in little room. */
  readonly showAxis: (value: number) => string
  /** Between its lines, if not decimal. */
  readonly steps?: readonly number[]
}

const height = 132

export function Chart({ title, times, values, show, showAxis, steps }: ChartProps): VNode {
  const place = useRef<HTMLDivElement>(null)
  const readout = useRef<HTMLElement>(null)
  const plot = useRef<UPlot>(undefined)
  const summary = summaryOf(values, show)
  const showing = useRef({ show, showAxis })
  showing.current = { show, showAxis }

  useEffect(() => {
    const element = place.current
    if (!element) return
    const tell = (chart: UPlot) => {
      if (!readout.current) return
      const index = chart.cursor.idx
      const value = index === null || index === undefined ? undefined : chart.data[1]?.[index]
      const second = index === null || index === undefined ? undefined : chart.data[0]?.[index]
      readout.current.textContent =
        typeof value === 'number' && typeof second === 'number'
          ? `${new Date(second * 1000).toLocaleTimeString()}: ${showing.current.show(value)}`
          : ''
    }
    const draw = () => {
      plot.current?.destroy()
      const chart = new UPlot(
        options(element, (value) => showing.current.showAxis(value), steps, tell),
        [[], []],
        element,
      )
      plot.current = chart
    }
    draw()
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height }))
    resized.observe(element)
    // A canvas does not follow style sheets.
    const dark = window.matchMedia('(prefers-color-scheme: dark)')
    const redraw = () => {
      const data = plot.current?.data
      draw()
      if (data) plot.current?.setData(data)
    }
    dark.addEventListener('change', redraw)
    return () => {
      resized.disconnect()
      dark.removeEventListener('change', redraw)
      plot.current?.destroy()
    }
  }, [])

  useEffect(() => plot.current?.setData([[...times], [...values]]), [times, values])

  return html`<figure class="chart">
    <figcaption><b>${title}</b><output ref=${readout} aria-hidden="true"></output><span class="summary">${summary}</span></figcaption>
    <div class="plot" ref=${place} role="img" aria-label=${`${title}, last hour: ${summary}`}></div>
  </figure>`
}

function summaryOf(values: readonly number[], show: (value: number) => string): string {
  if (values.length === 0) return 'nothing yet'
  const sum = values.reduce((a, b) => a + b, 0)
  return `now ${show(values.at(-1) ?? 0)} · mean ${show(sum / values.length)} · peak ${show(Math.max(...values))}`
}

function options(
  element: HTMLElement,
  showAxis: (value: number) => string,
  steps: readonly number[] | undefined,
  tell: (chart: UPlot) => void,
): UPlot.Options {
  const style = getComputedStyle(element)
  const colour = (name: string) => style.getPropertyValue(name).trim()
  const axis = {
    stroke: colour('--muted'),
    font: `11px ${colour('--sans')}`,
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { show: false },
  }
  return {
    width: element.clientWidth,
    height,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
    padding: [8, 14, 0, 0],
    scales: {
      x: { range: (_, low, high) => hour(low, high) },
      y: { range: (_, __, high) => [0, high > 0 ? high * 1.1 : 1] },
    },
    axes: [
      { ...axis, size: 24, gap: 4, grid: { show: false }, space: 70, values: (_, seconds) => seconds.map(clock) },
      {
        ...axis,
        size: 52,
        gap: 6,
        space: 32,
        ...(steps && { incrs: [...steps] }),
        values: (_, values) => values.map(showAxis),
      },
    ],
    series: [{}, { stroke: colour('--accent'), width: 1.5, fill: colour('--accent-soft'), points: { show: false } }],
    hooks: { setCursor: [tell] },
  }
}

function clock(second: number): string {
  const at = new Date(second * 1000)
  return `${String(at.getHours()).padStart(2, '0')}:${String(at.getMinutes()).padStart(2, '0')}`
}

/** At least an hour, though nothing is known of most of it; without any value, the last one. */
function hour(low: number | null, high: number | null): [number, number] {
  const end = high || Date.now() / 1000
  return [Math.min(low || end, end - 3600), end]
}
