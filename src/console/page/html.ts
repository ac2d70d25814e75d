/** Markup in template strings. Values are text or elements; nothing that comes from data is ever read as markup. */
import htm from 'htm'
import { type ComponentChildren, h, type VNode } from 'preact'

export const html = htm.bind(h) as (strings: TemplateStringsArray, ...values: readonly unknown[]) => VNode
export type Content = ComponentChildren

/** A component with its properties, which templates would not check. */
export function element<P extends object>(
  component: (props: P) => VNode | null,
  props: Omit<NoInfer<P>, 'children'> & { readonly key?: string },
  ...children: readonly Content[]
): VNode {
  const create = h as (type: unknown, props: object, ...children: readonly Content[]) => VNode
  return create(component, props, ...children)
}
