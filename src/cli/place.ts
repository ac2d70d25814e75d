import type { PipelineConfig } from '../config/pipeline.ts'

/** Where a source reads or a sink writes, in a few words: `s3_scan s3://logs/web/`, `http https://a.example.com/in`. */
export function placeOf(component: PipelineConfig['source'] | PipelineConfig['sink']): string {
  const { type } = component
  if ('bucket' in component) return `${type} s3://${String(component.bucket)}/${String(component.prefix)}`
  const { endpoints } = component
  return Array.isArray(endpoints)
    ? `${type} ${endpoints.map((url) => withoutCredentials(String(url))).join(', ')}`
    : type
}

/** A URL fit for logs: without user, password and query, which may hold a token. */
function withoutCredentials(text: string): string {
  if (!URL.canParse(text)) return text
  const url = new URL(text)
  url.username = ''
  url.password = ''
  const { search } = url
  url.search = ''
  return search === '' ? url.href : `${url.href}?…`
}
