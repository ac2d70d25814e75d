/** Which part of the page is shown stands behind the # of its address, so that it can be kept and sent. */
import { useEffect, useState } from 'preact/hooks'

export const parts = ['overview', 'objects', 'quarantine', 'runs', 'replays', 'config'] as const
export type Part = (typeof parts)[number]

export interface Route {
  readonly part: Part
  /** As in `#objects/web-logs`. */
  readonly pipeline: string | undefined
}

export function address(part: Part, pipeline?: string): string {
  return pipeline === undefined ? `#${part}` : `#${part}/${encodeURIComponent(pipeline)}`
}

export function routeOf(hash: string): Route {
  const [name = '', ...rest] = hash.replace(/^#/, '').split('/')
  const part = parts.find((known) => known === name) ?? 'overview'
  try {
    const pipeline = decodeURIComponent(rest.join('/'))
    return { part, pipeline: pipeline === '' ? undefined : pipeline }
  } catch {
    return { part, pipeline: undefined }
  }
}

export function useRoute(): Route {
  const [route, setRoute] = useState(() => routeOf(location.hash))
  useEffect(() => {
    const listen = () => setRoute(routeOf(location.hash))
    window.addEventListener('hashchange', listen)
    return () => window.removeEventListener('hashchange', listen)
  }, [])
  return route
}
