/** Tables that become small cards where there is no room. Roles are written out: a browser forgets them when `display` changes. */
import type { VNode } from 'preact'
import { type Content, html } from './html.ts'

export interface Column<T> {
  readonly title: string
  /** Undefined: nothing to say, and on a phone not even the title. */
  cell(row: T): Content
  readonly kind?: 'number' | 'nowrap' | 'tools'
  /** On a phone it takes the whole width, without its title. */
  readonly isWide?: boolean
  /** True of the one that says which row it is. */
  readonly isName?: boolean
}

export function table<T>(o: {
  readonly caption: string
  readonly columns: ReadonlyArray<Column<T>>
  readonly rows: readonly T[]
  readonly rowKey: (row: T) => string
  readonly rowClass?: (row: T) => string
}): VNode {
  const { columns } = o
  return html`<div class="scroll"><table class="stack" role="table">
    <caption class="unseen">${o.caption}</caption>
    <thead role="rowgroup"><tr role="row">
      ${columns.map(({ title, kind }) => html`<th key=${title} role="columnheader" scope="col" class=${kind}>${kind === 'tools' ? html`<span class="unseen">${title}</span>` : title}</th>`)}
    </tr></thead>
    <tbody role="rowgroup">
      ${o.rows.map(
        (row) => html`<tr key=${o.rowKey(row)} role="row" class=${o.rowClass?.(row)}>
          ${columns.map((column) => cell(column, row))}
        </tr>`,
      )}
    </tbody>
  </table></div>`
}

function cell<T>({ title, cell: content, kind, isName, isWide }: Column<T>, row: T): VNode {
  const value = content(row)
  if (isName) return html`<th key=${title} role="rowheader" scope="row" class=${kind}>${value}</th>`
  const isBlank = value === undefined || value === null || value === ''
  const label = kind === 'tools' || isWide ? undefined : title
  return html`<td key=${title} role="cell" class=${`${kind ?? ''}${isBlank ? ' blank' : ''}`} data-label=${label}>${isBlank ? '' : html`<div>${value}</div>`}</td>`
}
