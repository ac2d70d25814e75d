/** The whole page. */
import type { VNode } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { type Verdict, verdict } from '../verdict.ts'
import { head, partTitle } from './app-head.ts'
import { ConfigView } from './config-view.ts'
import { useHistory } from './history.ts'
import { element, html } from './html.ts'
import { type Live, useLive } from './live.ts'
import { mark } from './marks.ts'
import { Objects } from './objects.ts'
import { type Operator, useOperator } from './operator.ts'
import { OperatorDialogs, SignInForm } from './operator-dialogs.ts'
import { overview } from './overview.ts'
import { Quarantine } from './quarantine.ts'
import { Replays } from './replays.ts'
import { type Route, useRoute } from './route.ts'
import { Runs } from './runs.ts'
import { localTime } from './text.ts'

export function App(): VNode {
  const [attempt, setAttempt] = useState(0)
  const live = useLive(attempt)
  const operator = useOperator(() => setAttempt((n) => n + 1))
  const route = useRoute()
  const main = useRef<HTMLElement>(null)
  const { snapshot, link } = live
  const judged = link === 'gone' ? goneVerdict(live) : snapshot && verdict(snapshot)
  const title = judged ? `${judged.title} · s3-streamer${snapshot ? ` ${snapshot.host}` : ''}` : 's3-streamer'
  useEffect(() => {
    document.title = title
  }, [title])
  // Whoever came here by a link of the page goes on reading here.
  const isFirst = useRef(true)
  useEffect(() => {
    if (!isFirst.current) {
      main.current?.focus({ preventScroll: true })
      window.scrollTo(0, 0)
    }
    isFirst.current = false
  }, [route])
  return html`
    <a class="skip" href="#main" onClick=${(event: Event) => {
      event.preventDefault()
      main.current?.focus()
    }}>Skip to content</a>
    ${head({ live, verdict: judged, route, operator })}
    <p class="unseen" role="status">${spoken(judged, operator)}</p>
    <main id="main" ref=${main} tabindex="-1" class=${`frame ${link === 'gone' ? 'gone' : ''}`}>
      ${link === 'locked' ? locked(live, operator) : element(Shown, { live, route, operator, judged })}
    </main>
    ${element(OperatorDialogs, { operator, configFile: snapshot?.config.file ?? 'the configuration' })}
    ${element(Toast, { operator })}`
}

function Shown(o: { live: Live; route: Route; operator: Operator; judged: Verdict | undefined }): VNode {
  const { live, route, operator, judged } = o
  const { snapshot } = live
  const histories = useHistory(snapshot)
  if (!snapshot || !judged) {
    return live.link === 'gone'
      ? html`<div class="card empty">The streamer does not answer. ${live.reason ?? 'This page asks again by itself.'}</div>`
      : html`<div class="card empty">Connecting …</div>`
  }
  const { part, pipeline } = route
  if (part === 'overview') return overview({ snapshot, judged, histories, pipeline })
  return html`<h2>${partTitle(part)}</h2>
    ${{
      objects: () => element(Objects, { snapshot, pipeline }),
      quarantine: () => element(Quarantine, { snapshot, pipeline, operator }),
      runs: () => element(Runs, { snapshot, pipeline }),
      replays: () => element(Replays, { snapshot, pipeline, operator }),
      config: () => element(ConfigView, { snapshot, operator }),
    }[part]()}`
}

function goneVerdict({ snapshot, reason }: Live): Verdict {
  const lastSeen = snapshot ? `Last seen at ${localTime(snapshot.atMs, Date.now())}; what is below is from then.` : ''
  return {
    level: 'bad',
    title: 'The streamer does not answer',
    detail: `${reason ?? ''} ${lastSeen} This page asks again by itself.`.trim(),
    findings: [],
  }
}

/** It is read out, so it must change only when something has happened: no figures. */
function spoken(judged: Verdict | undefined, { said }: Operator): string {
  return said?.text ?? judged?.title ?? ''
}

function locked({ reason }: Live, operator: Operator): VNode {
  const mayEnter = operator.session?.tokenConfigured !== false
  return html`<section class="card pad locked" aria-labelledby="locked">
    <h2 id="locked">${mayEnter ? 'Sign in' : 'Not from here'}</h2>
    ${mayEnter ? element(SignInForm, { operator }) : html`<p>${reason}</p>`}
  </section>`
}

/** In front of dialogs, too. */
function Toast({ operator: { said, hush } }: { operator: Operator }): VNode | null {
  const place = useRef<HTMLDivElement>(null)
  useEffect(() => {
    if (!place.current) return
    place.current.hidePopover()
    place.current.showPopover()
  }, [said])
  if (!said) return null
  return html`<div class=${`toast ${said.isBad ? 'bad' : ''}`} popover="manual" ref=${place}>
    ${mark(said.isBad ? 'bad' : 'well')}<span>${said.text}</span>
    <button type="button" class="plain" onClick=${hush} aria-label="Dismiss">✕</button>
  </div>`
}
