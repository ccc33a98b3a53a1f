/** Negotiation of transfers: who may, and where the bytes go (VOSpace 2.1 section on transfers; wire.md 4.1 to 4.3). */
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { type Transfer } from '../vospace/transfer.ts'
import { type Preauth } from './preauth.ts'
import { type Space } from './space.ts'

export interface Endpoints {
  /** absolute URL of `/files`, no slash at the end */
  readonly files: string
  readonly preauth: Preauth
}
export interface Negotiation {
  readonly details: Transfer
  readonly error?: Fault
  /** URI of the data node, links resolved */
  readonly dataNode?: string
  /** URI of the link that was asked for */
  readonly linkNode?: string
}
export async function negotiate(
  _space: Space,
  _caller: Caller,
  transfer: Transfer,
  _endpoints: Endpoints,
): Promise<Negotiation> {
  return { details: { ...transfer, protocols: [] }, error: new Fault('OperationNotSupported', 'not yet') }
}
