/** Acting: who may, what is asked before, and what is said afterwards. */
import { useCallback, useEffect, useState } from 'preact/hooks'
import { Refusal, requests, type Session } from './requests.ts'

export interface Action {
  /** `Requeue 3 entries`: the name of the button and of the dialog. */
  readonly title: string
  /** What a terminal can do instead; undefined if that is nothing. */
  readonly command: string | undefined
  /** Asked before, where there is no way back. */
  readonly warning?: string
  /** Gives a sentence about what was done. */
  readonly work: () => Promise<string>
}

export interface Said {
  readonly text: string
  readonly isBad: boolean
}

/** What the reader is asked: to sign in, to do it in a terminal, or whether it is meant. */
export type Question =
  | { readonly kind: 'confirm' | 'forbidden'; readonly action: Action }
  | { readonly kind: 'sign-in'; readonly action: Action | undefined }

export interface Operator {
  readonly session: Session | undefined
  readonly isBusy: boolean
  readonly said: Said | undefined
  readonly question: Question | undefined
  /** Does it, after what has to be asked. */
  act(action: Action): void
  /** The reader has said yes. */
  confirm(action: Action): void
  signIn(token: string): Promise<void>
  askToken(): void
  signOut(): void
  /** Without doing anything. */
  close(): void
  hush(): void
}

const saidMs = 10_000

/** `onSession` is called when what one may see has changed. */
export function useOperator(onSession: () => void): Operator {
  const [session, setSession] = useState<Session>()
  const [isBusy, setBusy] = useState(false)
  const [said, setSaid] = useState<Said>()
  const [question, setQuestion] = useState<Question>()

  const look = useCallback(async () => {
    try {
      setSession(await requests.session())
    } catch {
      // The line at the top says that nobody answers.
    }
  }, [])
  useEffect(() => void look(), [])
  useEffect(() => {
    if (!said || said.isBad) return
    const timer = window.setTimeout(() => setSaid(undefined), saidMs)
    return () => window.clearTimeout(timer)
  }, [said])

  const confirm = (action: Action) => {
    setQuestion(undefined)
    setBusy(true)
    action
      .work()
      .then(
        (text) => setSaid({ text, isBad: false }),
        (error: unknown) => {
          if (error instanceof Refusal && error.status === 401) {
            setQuestion({ kind: 'sign-in', action })
            void look()
          } else setSaid({ text: error instanceof Error ? error.message : String(error), isBad: true })
        },
      )
      .finally(() => setBusy(false))
  }
  const go = (action: Action, may: Session | undefined) => {
    if (may && !may.tokenConfigured) setQuestion({ kind: 'forbidden', action })
    else if (may && !may.canAct) setQuestion({ kind: 'sign-in', action })
    else if (action.warning !== undefined) setQuestion({ kind: 'confirm', action })
    else confirm(action)
  }
  return {
    session,
    isBusy,
    said,
    question,
    act: (action) => go(action, session),
    confirm,
    async signIn(token) {
      const opened = await requests.signIn(token)
      setSession(opened)
      onSession()
      if (question?.kind === 'sign-in' && question.action) go(question.action, opened)
      else setQuestion(undefined)
    },
    askToken: () => setQuestion({ kind: 'sign-in', action: undefined }),
    signOut() {
      requests.signOut().then(
        (left) => {
          setSession(left)
          onSession()
        },
        (error: unknown) => setSaid({ text: String(error), isBad: true }),
      )
    },
    close: () => setQuestion(undefined),
    hush: () => setSaid(undefined),
  }
}
