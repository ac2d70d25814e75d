/** A dialog of the browser: it keeps the focus inside, closes by Escape, and gives the focus back. `data-first` has it first. */

import type { VNode } from 'preact'
import { useEffect, useId, useRef } from 'preact/hooks'
import { type Content, html } from './html.ts'

export interface DialogProps {
  readonly title: string
  readonly onClose: () => void
  readonly children?: Content
}

export function Dialog({ title, onClose, children }: DialogProps): VNode {
  const element = useRef<HTMLDialogElement>(null)
  const heading = useId()
  useEffect(() => {
    const before = document.activeElement
    const dialog = element.current
    dialog?.showModal()
    dialog?.querySelector<HTMLElement>('[data-first]')?.focus()
    return () => {
      dialog?.close()
      // The button that opened it may be gone with the row it stood in.
      if (before instanceof HTMLElement && before.isConnected) before.focus()
      else document.querySelector<HTMLElement>('main')?.focus()
    }
  }, [])
  const onCancel = (event: Event) => {
    event.preventDefault()
    onClose()
  }
  return html`<dialog ref=${element} aria-labelledby=${heading} onCancel=${onCancel}><div>
    <header>
      <h2 id=${heading}>${title}</h2>
      <button type="button" class="plain" onClick=${onClose} aria-label="Close">✕</button>
    </header>
    ${children}
  </div></dialog>`
}
