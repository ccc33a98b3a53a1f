/** A node as a document: what the codec writes and reads, URIs and strings only (VOSpace 2.1 section on nodes). */

export const NODE_CLASSES = [
  'Node',
  'DataNode',
  'UnstructuredDataNode',
  'StructuredDataNode',
  'ContainerNode',
  'LinkNode',
] as const
/** The local part of xsi:type. */
export type NodeClass = (typeof NODE_CLASSES)[number]

export interface Property {
  readonly uri: string
  /** null: xsi:nil, to be deleted */
  readonly value: string | null
  readonly readOnly?: boolean
}

export interface NodeDocument {
  readonly uri: string
  readonly class: NodeClass
  readonly properties: readonly Property[]
  /** data nodes */
  readonly busy?: boolean
  /** data nodes and containers: view URIs */
  readonly accepts?: readonly string[]
  readonly provides?: readonly string[]
  /** links: any URI */
  readonly target?: string
}

/** A container document also has children; they are streamed, so they travel beside it. */
export interface Listing {
  readonly node: NodeDocument
  readonly children: AsyncIterable<NodeDocument>
}
