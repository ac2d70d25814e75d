/** What the streamer says once a second, as long as somebody looks. */
import { useEffect, useState } from 'preact/hooks'
import type { Snapshot } from '../snapshot.ts'
import { Refusal, requests } from './requests.ts'

export interface Live {
  /** The last one that came. */
  readonly snapshot: Snapshot | undefined
  /** `locked`: it wants a token first. `gone`: it does not answer; it is asked again until it does. */
  readonly link: 'connecting' | 'live' | 'gone' | 'locked'
  /** Why it is locked, in the streamer's own words. */
  readonly reason: string | undefined
}

const firstRetryMs = 1000
const longestRetryMs = 15_000
/** It speaks every second; then the connection is dead, though nobody has said so. */
const silenceMs = 10_000

/** `attempt` changes when the reader has signed in or out: then it begins anew. */
export function useLive(attempt: number): Live {
  const [live, setLive] = useState<Live>({ snapshot: undefined, link: 'connecting', reason: undefined })
  useEffect(() => watch((change) => setLive((before) => ({ ...before, ...change }))), [attempt])
  return live
}

/** Gives what ends it. */
function watch(tell: (change: Partial<Live>) => void): () => void {
  let events: EventSource | undefined
  let timer: number | undefined
  let retryMs = firstRetryMs

  const close = () => {
    window.clearTimeout(timer)
    events?.close()
    events = undefined
  }
  const later = (afterMs: number, step: () => void) => {
    window.clearTimeout(timer)
    timer = window.setTimeout(step, afterMs)
  }
  const open = () => {
    close()
    const source = new EventSource('api/events')
    events = source
    source.addEventListener('snapshot', ({ data }: MessageEvent<string>) => {
      retryMs = firstRetryMs
      tell({ snapshot: JSON.parse(data) as Snapshot, link: 'live', reason: undefined })
      later(silenceMs, lost)
    })
    source.addEventListener('error', lost)
    later(silenceMs, lost)
  }
  // An EventSource does not say why it failed; a request beside it does.
  const lost = () => {
    close()
    void whyLost().then((change) => {
      if (events || document.hidden) return
      tell(change)
      if (change.link === 'locked') return
      later(retryMs, open)
      retryMs = Math.min(longestRetryMs, retryMs * 1.5)
    })
  }
  // A browser has few connections to one host: tabs that nobody sees give theirs back.
  const onChange = () => {
    if (document.hidden) close()
    else if (!events) open()
  }
  document.addEventListener('visibilitychange', onChange)
  window.addEventListener('online', onChange)
  if (!document.hidden) open()
  return () => {
    document.removeEventListener('visibilitychange', onChange)
    window.removeEventListener('online', onChange)
    close()
  }
}

async function whyLost(): Promise<Partial<Live> & Pick<Live, 'link'>> {
  try {
    await requests.status()
    return { link: 'gone', reason: undefined }
  } catch (error) {
    if (error instanceof Refusal && (error.status === 401 || error.status === 403)) {
      return { link: 'locked', reason: error.message, snapshot: undefined }
    }
    return { link: 'gone', reason: error instanceof Refusal && error.status !== 0 ? error.message : undefined }
  }
}
