/** A list that the streamer is asked for, again and again while it is on the screen. */
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { Refusal } from './requests.ts'

export interface Listing<T> {
  /** Undefined until the first answer. */
  readonly value: T | undefined
  readonly error: string | undefined
  readonly again: () => void
}

/** `what` says what is asked for: another text asks anew, and what an older question brings is not shown. */
export function useListing<T>(what: string, everyMs: number, load: () => Promise<T>): Listing<T> {
  const [state, setState] = useState<{ what: string; value: T | undefined; error: string | undefined }>({
    what,
    value: undefined,
    error: undefined,
  })
  const current = useRef({ what, load })
  current.current = { what, load }
  const again = useCallback(() => {
    const asked = current.current
    const isOld = () => current.current.what !== asked.what
    asked.load().then(
      (value) => !isOld() && setState({ what: asked.what, value, error: undefined }),
      (error: unknown) =>
        !isOld() &&
        setState((before) => ({
          what: asked.what,
          value: before.what === asked.what ? before.value : undefined,
          error: error instanceof Refusal ? error.message : String(error),
        })),
    )
  }, [])
  useEffect(() => {
    again()
    const timer = window.setInterval(() => {
      if (!document.hidden) again()
    }, everyMs)
    return () => window.clearInterval(timer)
  }, [what, everyMs])
  return { value: state.value, error: state.error, again }
}
