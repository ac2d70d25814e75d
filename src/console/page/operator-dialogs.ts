/** What is asked before something is done, and the form that takes the token. */

import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { Dialog } from './dialog.ts'
import { element, html } from './html.ts'
import type { Action, Operator } from './operator.ts'

export function OperatorDialogs({ operator, configFile }: { operator: Operator; configFile: string }): VNode | null {
  const { question } = operator
  if (!question) return null
  if (question.kind === 'sign-in') return element(SignIn, { operator, action: question.action })
  const { action } = question
  if (question.kind === 'confirm') {
    return element(
      Dialog,
      { title: action.title, onClose: operator.close },
      html`<p>${action.warning}</p>
        <div class="actions">
          <button type="button" onClick=${operator.close} data-first>Cancel</button>
          <button type="button" class="danger primary" onClick=${() => operator.confirm(action)}>${action.title}</button>
        </div>`,
    )
  }
  return element(
    Dialog,
    { title: action.title, onClose: operator.close },
    html`<p>This page may only look: no token is configured. To act from here, set a secret of at least 16 characters in <span class="mono">${configFile}</span> and reload it:</p>
      <pre>console:\n  token: "\${S3_STREAMER_TOKEN}"</pre>
      ${terminal(action, 'A terminal on this machine does it without one:')}
      <div class="actions"><button type="button" class="primary" onClick=${operator.close} data-first>Close</button></div>`,
  )
}

function terminal({ command }: Action, words: string): VNode | null {
  if (command === undefined) return null
  return html`<p>${words}</p>${element(Command, { text: command })}`
}

/** A command line with a button that copies it. */
export function Command({ text }: { text: string }): VNode {
  const [isCopied, setCopied] = useState(false)
  const copy = () => {
    // Browsers allow it only where the page came by HTTPS or from this machine; elsewhere the text can still be marked.
    navigator.clipboard?.writeText(text).then(
      () => setCopied(true),
      () => setCopied(false),
    )
  }
  return html`<div class="command"><code>${text}</code><button type="button" onClick=${copy}>${isCopied ? 'Copied' : 'Copy'}</button></div>`
}

function SignIn({ operator, action }: { operator: Operator; action: Action | undefined }): VNode {
  return element(
    Dialog,
    { title: action ? `${action.title}: sign in first` : 'Sign in', onClose: operator.close },
    element(SignInForm, { operator }),
    action && terminal(action, 'Or in a terminal on the streamer’s machine:'),
  )
}

export function SignInForm({ operator }: { operator: Operator }): VNode {
  const [token, setToken] = useState('')
  const [error, setError] = useState<string>()
  const [isSending, setSending] = useState(false)
  const send = (event: Event) => {
    event.preventDefault()
    setSending(true)
    operator
      .signIn(token)
      .catch((refusal: unknown) => setError(refusal instanceof Error ? refusal.message : String(refusal)))
      .finally(() => setSending(false))
  }
  return html`<form class="sign-in" onSubmit=${send}>
    <input type="text" name="username" autocomplete="username" value="s3-streamer" hidden />
    <label>Token <span class="muted">(console.token of the configuration)</span>
      <input type="password" name="token" autocomplete="current-password" required data-first value=${token}
        aria-invalid=${error === undefined ? undefined : 'true'} aria-describedby="sign-in-error"
        onInput=${(event: InputEvent) => setToken((event.currentTarget as HTMLInputElement).value)} />
    </label>
    <p id="sign-in-error" class="reason bad" role="alert">${error}</p>
    <div class="actions"><button type="submit" class="primary" disabled=${isSending}>Sign in</button></div>
  </form>`
}
